// Crops of a frame on the GPU, resized as Pillow's bilinear resizes them and written as a model's input, in one kernel.
//
// Pillow's arithmetic: weights in double precision, normalised and rounded to 22 fractional bits; first along the rows,
// rounded to 8 bits, then along the columns. A sample's weights reach as far as the picture shrinks, so that nothing is
// skipped. The pixels are those of reid_runtime.images.resize to the last bit. The source is C++ without any header: NVRTC and
// nvcc compile it for a GPU, and the tests compile it for the host and hold it to Pillow.

const int BITS = 22;

// The weights of one output sample out of `out`, over `in` input samples: values[0] is the first input sample,
// values[1] their number, and their weights follow.
__device__ void weigh(int sample, int in, int out, int *values)
{
    double scale = (double)in / out;
    double reach = scale < 1.0 ? 1.0 : scale;
    double center = (sample + 0.5) * scale;
    double narrow = 1.0 / reach;
    int first = (int)(center - reach + 0.5);
    int last = (int)(center + reach + 0.5);
    first = first < 0 ? 0 : first;
    last = last > in ? in : last;
    double sum = 0.0;
    for (int i = first; i < last; i++) {
        double away = (i - center + 0.5) * narrow;
        away = away < 0.0 ? -away : away;
        sum += away < 1.0 ? 1.0 - away : 0.0;
    }
    values[0] = first;
    values[1] = last - first;
    for (int i = first; i < last; i++) {
        double away = (i - center + 0.5) * narrow;
        away = away < 0.0 ? -away : away;
        double weight = away < 1.0 ? 1.0 - away : 0.0;
        values[2 + i - first] = (int)(0.5 + weight / sum * (1 << BITS));
    }
}

__device__ int to_byte(int value)
{
    value >>= BITS;
    return value < 0 ? 0 : value > 255 ? 255 : value;
}

// One thread is one output pixel: x and y within a crop, z the crop. `boxes` are x1, y1, x2, y2 of crops that lie in the
// frame; pixel (x, y), channel c of the frame is at frame + y * row + x * column + c * channel. The output is
// (N, height, width, 3), or (N, 3, height, width) with `planes`; uint8, or with `floats` float32
// (v * scale - mean) / deviation. Shared memory holds 2 + taps_x integers for each column of the block, then
// 2 + taps_y for each row.
extern "C" __global__ void crops(const unsigned char *frame, long long row, long long column, long long channel,
                                 const int *boxes, int height, int width, int taps_x, int taps_y, void *output,
                                 int planes, int floats, float scale, float mean0, float mean1, float mean2,
                                 float deviation0, float deviation1, float deviation2)
{
    extern __shared__ int weights[];
    const int *box = boxes + 4 * blockIdx.z;
    int x = blockIdx.x * blockDim.x + threadIdx.x;
    int y = blockIdx.y * blockDim.y + threadIdx.y;
    int *columns = weights + threadIdx.x * (2 + taps_x);
    int *rows = weights + blockDim.x * (2 + taps_x) + threadIdx.y * (2 + taps_y);
    if (threadIdx.y == 0 && x < width)
        weigh(x, box[2] - box[0], width, columns);
    if (threadIdx.x == 0 && y < height)
        weigh(y, box[3] - box[1], height, rows);
    __syncthreads();
    if (x >= width || y >= height)
        return;

    const unsigned char *corner = frame + (box[1] + rows[0]) * row + (box[0] + columns[0]) * column;
    int sums[3] = {1 << (BITS - 1), 1 << (BITS - 1), 1 << (BITS - 1)};
    for (int j = 0; j < rows[1]; j++) {
        int along[3] = {1 << (BITS - 1), 1 << (BITS - 1), 1 << (BITS - 1)};
        for (int i = 0; i < columns[1]; i++)
            for (int c = 0; c < 3; c++)
                along[c] += corner[j * row + i * column + c * channel] * columns[2 + i];
        for (int c = 0; c < 3; c++)
            sums[c] += to_byte(along[c]) * rows[2 + j];
    }

    const float means[3] = {mean0, mean1, mean2};
    const float deviations[3] = {deviation0, deviation1, deviation2};
    for (int c = 0; c < 3; c++) {
        long long pixel = ((long long)blockIdx.z * height + y) * width + x;
        long long plane = (((long long)blockIdx.z * 3 + c) * height + y) * width + x;
        long long place = planes ? plane : 3 * pixel + c;
        int value = to_byte(sums[c]);
        if (floats)
            ((float *)output)[place] = (value * scale - means[c]) / deviations[c];
        else
            ((unsigned char *)output)[place] = value;
    }
}
