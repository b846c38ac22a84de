/* Geometry, rasterisation and shading of rendered people.
 *
 * Plain IEEE float arithmetic and sqrtf alone: built without fast-math and without contraction, it gives the same
 * bytes on every x86-64. Depth is kept as its inverse, so that nearer is larger and 0 is nothing.
 */
#include <math.h>
#include <stdint.h>

typedef struct { float turn[9], at[3], focal, cx, cy; } Lens;
typedef struct { int width, height; float *inverse, *albedo, *normal, *gloss; uint8_t *owner; } Layers;
typedef struct {
  const uint8_t *detail; int detail_width, detail_height;
  const uint8_t *trim;
  const uint8_t *pattern; int pattern_width, pattern_height;
  float scale_u, scale_v, offset_u, offset_v, trim_colour[3], gloss;
  int alpha, owner;
} Surface;
typedef struct { float direction[3], sun[3], ambient[18], across[3], up[3], centre[3], radius; int size; const float *depth; } Light;
typedef struct { float point[3], normal[3], across[3], scale; int size; const float *texture; } Plane;

static float decode(float x) { return x * (x * (x * 0.305306011f + 0.682171111f) + 0.012522878f); }
static float encode(float x) {
  if (x <= 0) return 0;
  float a = sqrtf(x), b = sqrtf(a), c = sqrtf(b);
  return 0.662002687f * a + 0.684122060f * b - 0.323583601f * c - 0.0225411470f * x;
}

/* adds weighted shifts to some of the vertices */
void morph(int n, const int *rows, const float *shifts, float weight, float *vertices) {
  for (int i = 0; i < n; i++) for (int k = 0; k < 3; k++) vertices[3 * rows[i] + k] += weight * shifts[3 * i + k];
}

/* row of the nearest of m points for each of n */
void nearest(int n, const float *points, int m, const float *among, int64_t *out) {
  for (int i = 0; i < n; i++) {
    float best = 1e30f;
    for (int j = 0; j < m; j++) {
      float a = points[3 * i] - among[3 * j], b = points[3 * i + 1] - among[3 * j + 1], c = points[3 * i + 2] - among[3 * j + 2];
      float d = a * a + b * b + c * c;
      if (d < best) { best = d; out[i] = j; }
    }
  }
}

void skin(int n, const float *v, const int *bones, const float *weights, const float *moves, float *out) {
  for (int i = 0; i < n; i++) {
    float m[12] = {0};
    for (int k = 0; k < 4; k++) {
      float a = weights[4 * i + k];
      if (a == 0) continue;
      const float *t = moves + 12 * bones[4 * i + k];
      for (int j = 0; j < 12; j++) m[j] += a * t[j];
    }
    for (int r = 0; r < 3; r++)
      out[3 * i + r] = m[4 * r] * v[3 * i] + m[4 * r + 1] * v[3 * i + 1] + m[4 * r + 2] * v[3 * i + 2] + m[4 * r + 3];
  }
}

void normals(int n, int faces, const int *face, const float *x, float *out) {
  for (int i = 0; i < 3 * n; i++) out[i] = 0;
  for (int f = 0; f < faces; f++) {
    const float *a = x + 3 * face[3 * f], *b = x + 3 * face[3 * f + 1], *c = x + 3 * face[3 * f + 2];
    float e[3], g[3];
    for (int k = 0; k < 3; k++) { e[k] = b[k] - a[k]; g[k] = c[k] - a[k]; }
    float m[3] = {e[1] * g[2] - e[2] * g[1], e[2] * g[0] - e[0] * g[2], e[0] * g[1] - e[1] * g[0]};
    for (int q = 0; q < 3; q++) for (int k = 0; k < 3; k++) out[3 * face[3 * f + q] + k] += m[k];
  }
  for (int i = 0; i < n; i++) {
    float *o = out + 3 * i, s = 1e-9f + sqrtf(o[0] * o[0] + o[1] * o[1] + o[2] * o[2]);
    for (int k = 0; k < 3; k++) o[k] /= s;
  }
}

/* (n, 3): column and row in pixels, inverse depth; 0 behind the camera */
void project(int n, const float *x, const Lens *lens, float *out) {
  for (int i = 0; i < n; i++) {
    float d[3], c[3];
    for (int k = 0; k < 3; k++) d[k] = x[3 * i + k] - lens->at[k];
    for (int r = 0; r < 3; r++) c[r] = lens->turn[3 * r] * d[0] + lens->turn[3 * r + 1] * d[1] + lens->turn[3 * r + 2] * d[2];
    float w = c[2] > 1 ? 1 / c[2] : 0;
    out[3 * i] = lens->cx + lens->focal * c[0] * w;
    out[3 * i + 1] = lens->cy - lens->focal * c[1] * w;
    out[3 * i + 2] = w;
  }
}

static void sample(const uint8_t *image, int width, int height, int channels, float u, float v, float *out) {
  float x = u * width - .5f, y = v * height - .5f, fx = floorf(x), fy = floorf(y), ax = x - fx, ay = y - fy;
  int x0 = (int)fx % width, y0 = (int)fy % height;
  if (x0 < 0) x0 += width;
  if (y0 < 0) y0 += height;
  int x1 = x0 + 1 == width ? 0 : x0 + 1, y1 = y0 + 1 == height ? 0 : y0 + 1;
  const uint8_t *a = image + channels * (y0 * width + x0), *b = image + channels * (y0 * width + x1);
  const uint8_t *c = image + channels * (y1 * width + x0), *d = image + channels * (y1 * width + x1);
  for (int k = 0; k < 3; k++)
    out[k] = (a[k] * (1 - ax) + b[k] * ax) * (1 - ay) + (c[k] * (1 - ax) + d[k] * ax) * ay;
}

/* pixel columns x0 to x1 of the row at which a triangle's box lies; p: projected, n: normals, cut: below 0 is no cloth */
void draw(int faces, const int *face, const int *uv_face, const float *p, const float *n, const float *uv,
          const float *cut, const Surface *s, Layers *l) {
  for (int f = 0; f < faces; f++) {
    const int *i = face + 3 * f, *j = uv_face + 3 * f;
    const float *A = p + 3 * i[0], *B = p + 3 * i[1], *C = p + 3 * i[2];
    if (A[2] <= 0 || B[2] <= 0 || C[2] <= 0) continue;
    if (cut && cut[i[0]] < 0 && cut[i[1]] < 0 && cut[i[2]] < 0) continue;
    float left = fminf(A[0], fminf(B[0], C[0])), right = fmaxf(A[0], fmaxf(B[0], C[0]));
    float top = fminf(A[1], fminf(B[1], C[1])), bottom = fmaxf(A[1], fmaxf(B[1], C[1]));
    if (right < 0 || bottom < 0 || left >= l->width || top >= l->height) continue;
    int x0 = left < 0 ? 0 : (int)left, x1 = right > l->width - 1 ? l->width - 1 : (int)right;
    int y0 = top < 0 ? 0 : (int)top, y1 = bottom > l->height - 1 ? l->height - 1 : (int)bottom;
    float d = (B[1] - C[1]) * (A[0] - C[0]) + (C[0] - B[0]) * (A[1] - C[1]);
    if (fabsf(d) < 1e-9f) continue;
    d = 1 / d;
    float ax = (B[1] - C[1]) * d, ay = (C[0] - B[0]) * d, bx = (C[1] - A[1]) * d, by = (A[0] - C[0]) * d;
    const float *u = uv + 2 * j[0], *v = uv + 2 * j[1], *w = uv + 2 * j[2];
    for (int y = y0; y <= y1; y++) for (int x = x0; x <= x1; x++) {
      float gx = x + .5f - C[0], gy = y + .5f - C[1];
      float b0 = ax * gx + ay * gy, b1 = bx * gx + by * gy, b2 = 1 - b0 - b1;
      if (b0 < 0 || b1 < 0 || b2 < 0) continue;
      float inverse = b0 * A[2] + b1 * B[2] + b2 * C[2];
      int at = y * l->width + x;
      if (inverse <= l->inverse[at]) continue;
      b0 *= A[2] / inverse; b1 *= B[2] / inverse; b2 = 1 - b0 - b1;
      if (cut && b0 * cut[i[0]] + b1 * cut[i[1]] + b2 * cut[i[2]] < 0) continue;
      float U = b0 * u[0] + b1 * v[0] + b2 * w[0], V = 1 - (b0 * u[1] + b1 * v[1] + b2 * w[1]);
      float colour[3], ratio[3] = {128, 128, 128};
      int texel = 0;
      if (s->detail) {
        int tx = (int)(U * s->detail_width), ty = (int)(V * s->detail_height);
        tx = tx < 0 ? 0 : tx >= s->detail_width ? s->detail_width - 1 : tx;
        ty = ty < 0 ? 0 : ty >= s->detail_height ? s->detail_height - 1 : ty;
        texel = ty * s->detail_width + tx;
        if (s->alpha && s->detail[4 * texel + 3] < s->alpha) continue;
        sample(s->detail, s->detail_width, s->detail_height, 4, U, V, ratio);
      }
      if (s->trim && s->trim[texel]) for (int k = 0; k < 3; k++) colour[k] = s->trim_colour[k];
      else sample(s->pattern, s->pattern_width, s->pattern_height, 3, U * s->scale_u + s->offset_u, V * s->scale_v + s->offset_v, colour);
      l->inverse[at] = inverse;
      l->owner[at] = (uint8_t)s->owner;
      l->gloss[at] = s->gloss;
      float m[3], length = 1e-9f;
      for (int k = 0; k < 3; k++) { m[k] = b0 * n[3 * i[0] + k] + b1 * n[3 * i[1] + k] + b2 * n[3 * i[2] + k]; length += m[k] * m[k]; }
      length = 1 / sqrtf(length);
      for (int k = 0; k < 3; k++) {
        float value = colour[k] * ratio[k] * (1 / (128.f * 255.f));
        l->albedo[3 * at + k] = decode(value < 0 ? 0 : value > 1 ? 1 : value);
        l->normal[3 * at + k] = m[k] * length;
      }
    }
  }
}

/* how near the light each texel of a parallel view is covered; depth (size, size) starts at -1e9 */
void cover(int faces, const int *face, const float *x, const float *cut, const Light *light, float *depth) {
  int size = light->size;
  float per = size / (2 * light->radius);
  for (int f = 0; f < faces; f++) {
    float q[3][3];
    if (cut && cut[face[3 * f]] < 0) continue;
    for (int c = 0; c < 3; c++) {
      const float *v = x + 3 * face[3 * f + c];
      float d[3] = {v[0] - light->centre[0], v[1] - light->centre[1], v[2] - light->centre[2]};
      q[c][0] = (d[0] * light->across[0] + d[1] * light->across[1] + d[2] * light->across[2] + light->radius) * per;
      q[c][1] = (d[0] * light->up[0] + d[1] * light->up[1] + d[2] * light->up[2] + light->radius) * per;
      q[c][2] = d[0] * light->direction[0] + d[1] * light->direction[1] + d[2] * light->direction[2];
    }
    float *A = q[0], *B = q[1], *C = q[2];
    int x0 = (int)fmaxf(fminf(A[0], fminf(B[0], C[0])), 0), x1 = (int)fminf(fmaxf(A[0], fmaxf(B[0], C[0])), size - 1);
    int y0 = (int)fmaxf(fminf(A[1], fminf(B[1], C[1])), 0), y1 = (int)fminf(fmaxf(A[1], fmaxf(B[1], C[1])), size - 1);
    float d = (B[1] - C[1]) * (A[0] - C[0]) + (C[0] - B[0]) * (A[1] - C[1]);
    if (fabsf(d) < 1e-9f) continue;
    d = 1 / d;
    for (int y = y0; y <= y1; y++) for (int i = x0; i <= x1; i++) {
      float gx = i + .5f, gy = y + .5f;
      float b0 = ((B[1] - C[1]) * (gx - C[0]) + (C[0] - B[0]) * (gy - C[1])) * d;
      float b1 = ((C[1] - A[1]) * (gx - C[0]) + (A[0] - C[0]) * (gy - C[1])) * d;
      if (b0 < 0 || b1 < 0 || b0 + b1 > 1) continue;
      float z = b0 * A[2] + b1 * B[2] + (1 - b0 - b1) * C[2];
      if (z > depth[y * size + i]) depth[y * size + i] = z;
    }
  }
}

/* share of the sun that reaches a point, over nine texels */
static float lit(const Light *light, const float *x, float bias) {
  float d[3] = {x[0] - light->centre[0], x[1] - light->centre[1], x[2] - light->centre[2]}, per = light->size / (2 * light->radius);
  float u = (d[0] * light->across[0] + d[1] * light->across[1] + d[2] * light->across[2] + light->radius) * per;
  float v = (d[0] * light->up[0] + d[1] * light->up[1] + d[2] * light->up[2] + light->radius) * per;
  float z = d[0] * light->direction[0] + d[1] * light->direction[1] + d[2] * light->direction[2] + bias, sum = 0;
  if (!(u > 2 && v > 2 && u < light->size - 2 && v < light->size - 2)) return 1;
  int i = (int)u, j = (int)v;
  for (int b = -1; b <= 1; b++) for (int a = -1; a <= 1; a++) sum += light->depth[(j + b) * light->size + i + a] < z;
  return sum * (1.f / 9);
}

static void world(const Lens *lens, float x, float y, float depth, float *out) {
  float c[3] = {(x - lens->cx) / lens->focal * depth, -(y - lens->cy) / lens->focal * depth, depth};
  for (int k = 0; k < 3; k++) out[k] = lens->at[k] + lens->turn[k] * c[0] + lens->turn[3 + k] * c[1] + lens->turn[6 + k] * c[2];
}

static float occlusion(const Layers *l, const Lens *lens, int x, int y, float depth) {
  static const float taps[8][2] = {{1, 0}, {.35f, .7f}, {-.3f, .35f}, {-.9f, .3f}, {-.55f, -.8f}, {.1f, -.45f}, {.75f, -.55f}, {.2f, .95f}};
  static const float turns[4][2] = {{1, 0}, {.7071f, .7071f}, {0, 1}, {-.7071f, .7071f}};
  const float *t = turns[(x & 1) + 2 * (y & 1)];
  float radius = 1.3f * lens->focal / depth, sum = 0;
  for (int k = 0; k < 8; k++) {
    int i = x + (int)(radius * (taps[k][0] * t[0] - taps[k][1] * t[1])), j = y + (int)(radius * (taps[k][0] * t[1] + taps[k][1] * t[0]));
    if (i < 0 || j < 0 || i >= l->width || j >= l->height) continue;
    float w = l->inverse[j * l->width + i];
    if (w <= 0) continue;
    float nearer = depth - 1 / w;
    if (nearer > .08f && nearer < 3.5f) sum += nearer < .6f ? nearer / .6f : 1;
  }
  return 1 - .8f * sum / 8;
}

static void ambient(const Light *light, const float *n, float *out) {
  for (int k = 0; k < 3; k++) out[k] = 0;
  for (int a = 0; a < 3; a++) {
    const float *c = light->ambient + 6 * a + (n[a] < 0 ? 3 : 0);
    for (int k = 0; k < 3; k++) out[k] += n[a] * n[a] * c[k];
  }
}

/* albedo becomes light, in place */
void shade(const Lens *lens, const Light *light, Layers *l) {
  for (int y = 0; y < l->height; y++) for (int x = 0; x < l->width; x++) {
    int at = y * l->width + x;
    if (l->inverse[at] <= 0) continue;
    float depth = 1 / l->inverse[at], p[3], view[3], soft[3], n[3], facing = 0, length = 0;
    world(lens, x + .5f, y + .5f, depth, p);
    for (int k = 0; k < 3; k++) { n[k] = l->normal[3 * at + k]; view[k] = lens->at[k] - p[k]; facing += n[k] * view[k]; length += view[k] * view[k]; }
    length = 1 / sqrtf(length);
    if (facing < 0) for (int k = 0; k < 3; k++) n[k] = -n[k]; /* the inside of a skirt or a sleeve */
    for (int k = 0; k < 3; k++) p[k] += .12f * n[k];
    float sun = n[0] * light->direction[0] + n[1] * light->direction[1] + n[2] * light->direction[2], shine = 0;
    sun = sun > 0 ? sun * lit(light, p, -.1f) : 0;
    if (l->gloss[at] > 0 && sun > 0) {
      float h[3], s = 0, c = 0;
      for (int k = 0; k < 3; k++) { h[k] = light->direction[k] + view[k] * length; s += h[k] * h[k]; c += h[k] * n[k]; }
      c = c > 0 ? c / sqrtf(s) : 0;
      c *= c; c *= c; c *= c; c *= c;
      shine = l->gloss[at] * c * sun;
    }
    ambient(light, n, soft);
    float open = occlusion(l, lens, x, y, depth);
    for (int k = 0; k < 3; k++)
      l->albedo[3 * at + k] = l->albedo[3 * at + k] * (soft[k] * open + light->sun[k] * sun) + light->sun[k] * shine;
  }
}

/* share of light at the ground behind each pixel: sun's shadow, and the darkness under the feet */
void ground(int width, int height, const Lens *lens, const Light *light, int feet, const float *foot, float *out) {
  for (int y = 0; y < height; y++) for (int x = 0; x < width; x++) {
    float p[3], *o = out + 2 * (y * width + x);
    o[0] = o[1] = 1;
    world(lens, x + .5f, y + .5f, 1, p);
    float fall = lens->at[1] - p[1];
    if (fall < 1e-3f) continue;
    float reach = lens->at[1] / fall;
    if (reach > 400) continue;
    world(lens, x + .5f, y + .5f, reach, p);
    o[0] = lit(light, p, -.05f);
    float dark = 0;
    for (int f = 0; f < feet; f++) {
      float a = p[0] - foot[2 * f], b = p[2] - foot[2 * f + 1], r = 1 + (a * a + b * b) * .55f;
      dark += .5f / (r * r);
    }
    o[1] = dark > .75f ? .25f : 1 - dark;
  }
}

/* textured planes behind the people: the nearest one that each pixel's ray meets; colour linear, 0 hits leave `out` as it is */
void planes(int width, int height, const Lens *lens, const Light *light, int count, const Plane *plane, float *out) {
  for (int y = 0; y < height; y++) for (int x = 0; x < width; x++) {
    float ray[3], best = 1e9f;
    int which = -1;
    world(lens, x + .5f, y + .5f, 1, ray);
    for (int k = 0; k < 3; k++) ray[k] -= lens->at[k];
    for (int i = 0; i < count; i++) {
      const Plane *s = plane + i;
      float along = 0, gap = 0;
      for (int k = 0; k < 3; k++) { along += ray[k] * s->normal[k]; gap += (s->point[k] - lens->at[k]) * s->normal[k]; }
      if (along > -1e-4f) continue;
      float t = gap / along;
      if (t > 1 && t < best) { best = t; which = i; }
    }
    if (which < 0) continue;
    const Plane *s = plane + which;
    float p[3], up[3], u = 0, v = 0, soft[3], sun = 0;
    for (int k = 0; k < 3; k++) p[k] = lens->at[k] + best * ray[k];
    up[0] = s->normal[1] * s->across[2] - s->normal[2] * s->across[1];
    up[1] = s->normal[2] * s->across[0] - s->normal[0] * s->across[2];
    up[2] = s->normal[0] * s->across[1] - s->normal[1] * s->across[0];
    for (int k = 0; k < 3; k++) {
      u += (p[k] - s->point[k]) * s->across[k]; v += (p[k] - s->point[k]) * up[k];
      sun += s->normal[k] * light->direction[k];
    }
    u = u / s->scale * s->size; v = (1 - v / s->scale) * s->size;
    float fx = floorf(u), fy = floorf(v), ax = u - fx, ay = v - fy;
    int x0 = (int)fx % s->size, y0 = (int)fy % s->size;
    if (x0 < 0) x0 += s->size;
    if (y0 < 0) y0 += s->size;
    int x1 = (x0 + 1) % s->size, y1 = (y0 + 1) % s->size;
    ambient(light, s->normal, soft);
    sun = sun > 0 ? sun * lit(light, p, -.05f) : 0;
    for (int k = 0; k < 3; k++) {
      const float *t = s->texture + k;
      float colour = (t[3 * (y0 * s->size + x0)] * (1 - ax) + t[3 * (y0 * s->size + x1)] * ax) * (1 - ay)
                   + (t[3 * (y1 * s->size + x0)] * (1 - ax) + t[3 * (y1 * s->size + x1)] * ax) * ay;
      out[3 * (y * width + x) + k] = colour * (soft[k] + light->sun[k] * sun);
    }
  }
}

/* means of 2 by 2: light (h, w, 3), share of anything drawn (h, w), share of owner 1 (h, w) */
void resolve(const Layers *l, float *light, float *any, float *person) {
  int width = l->width / 2, height = l->height / 2;
  for (int y = 0; y < height; y++) for (int x = 0; x < width; x++) {
    int o = y * width + x, hits = 0, mine = 0;
    float sum[3] = {0};
    for (int b = 0; b < 2; b++) for (int a = 0; a < 2; a++) {
      int at = (2 * y + b) * l->width + 2 * x + a;
      if (l->inverse[at] <= 0) continue;
      hits++;
      mine += l->owner[at] == 1;
      for (int k = 0; k < 3; k++) sum[k] += l->albedo[3 * at + k];
    }
    for (int k = 0; k < 3; k++) light[3 * o + k] = sum[k] * .25f;
    any[o] = hits * .25f;
    person[o] = mine * .25f;
  }
}

/* linear light to 0..255 of sRGB: gains, a shoulder that keeps highlights, a lift, contrast about the middle grey */
void develop(int n, const float *light, const float *gain, float lift, float contrast, float *out) {
  for (int i = 0; i < n; i++) for (int k = 0; k < 3; k++) {
    float x = light[3 * i + k] * gain[k];
    if (x > .6f) x = .6f + (x - .6f) / (1 + (x - .6f) * 1.2f);
    x = (encode(x) - .45f) * contrast + .45f + lift;
    out[3 * i + k] = 255 * (x < 0 ? 0 : x > 1 ? 1 : x);
  }
}

void linear(int n, const uint8_t *image, float *out) {
  for (int i = 0; i < n; i++) out[i] = decode(image[i] * (1 / 255.f));
}

/* texels of an atlas that the faces cover, with a margin */
void charted(int faces, const int *uv_face, const float *uv, int width, int height, uint8_t *out) {
  for (int f = 0; f < faces; f++) {
    float X[3], Y[3];
    for (int k = 0; k < 3; k++) { X[k] = uv[2 * uv_face[3 * f + k]] * width; Y[k] = (1 - uv[2 * uv_face[3 * f + k] + 1]) * height; }
    int x0 = (int)floorf(fminf(X[0], fminf(X[1], X[2]))) - 1, x1 = (int)fmaxf(X[0], fmaxf(X[1], X[2])) + 2;
    int y0 = (int)floorf(fminf(Y[0], fminf(Y[1], Y[2]))) - 1, y1 = (int)fmaxf(Y[0], fmaxf(Y[1], Y[2])) + 2;
    float d = (Y[1] - Y[2]) * (X[0] - X[2]) + (X[2] - X[1]) * (Y[0] - Y[2]);
    if (fabsf(d) < 1e-9f) continue;
    for (int y = y0 < 0 ? 0 : y0; y <= y1 && y < height; y++) for (int x = x0 < 0 ? 0 : x0; x <= x1 && x < width; x++) {
      float gx = x + .5f, gy = y + .5f;
      float b0 = ((Y[1] - Y[2]) * (gx - X[2]) + (X[2] - X[1]) * (gy - Y[2])) / d;
      float b1 = ((Y[2] - Y[0]) * (gx - X[2]) + (X[0] - X[2]) * (gy - Y[2])) / d;
      if (b0 > -.1f && b1 > -.1f && b0 + b1 < 1.1f) out[y * width + x] = 1;
    }
  }
}
