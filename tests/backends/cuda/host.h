// What a CUDA kernel needs to be compiled for the host, where a block's threads run one after the other.
//
// A block is run twice over shared memory that starts as zeros: on the second pass it holds all that the threads would
// have written before the barrier. That is right for a kernel with one barrier whose threads write the same both times.
#include <cstddef>
#include <cstring>
#include <vector>

struct Index {
    unsigned x, y, z;
};
static Index blockIdx, threadIdx, blockDim;
#define __global__
#define __device__ static
#define __shared__
#define __syncthreads()
int weights[12 * 1024];

#include "crops.cu"

extern "C" void crops_on_host(const Index *grid, const Index *block, size_t shared, void **a)
{
    blockDim = *block;
    for (unsigned bz = 0; bz < grid->z; bz++)
        for (unsigned by = 0; by < grid->y; by++)
            for (unsigned bx = 0; bx < grid->x; bx++) {
                blockIdx = {bx, by, bz};
                memset(weights, 0, shared);
                for (int pass = 0; pass < 2; pass++)
                    for (unsigned y = 0; y < block->y; y++)
                        for (unsigned x = 0; x < block->x; x++) {
                            threadIdx = {x, y, 0};
                            crops(*(const unsigned char **)a[0], *(long long *)a[1], *(long long *)a[2],
                                  *(long long *)a[3], *(const int **)a[4], *(int *)a[5], *(int *)a[6], *(int *)a[7],
                                  *(int *)a[8], *(void **)a[9], *(int *)a[10], *(int *)a[11], *(float *)a[12],
                                  *(float *)a[13], *(float *)a[14], *(float *)a[15], *(float *)a[16], *(float *)a[17],
                                  *(float *)a[18]);
                        }
            }
}
