/* A CUDA driver of two GPUs, the second of which is current in every thread; HIDE_GPU=1 finds none. */
#include <stdlib.h>
#include <string.h>

static __thread void *context = (void *)0x5150;

static int hidden(void) { return getenv("HIDE_GPU") != NULL; }

int cuInit(unsigned flags) { return hidden() ? 100 : 0; }
int cuDeviceGet(int *device, int ordinal) { *device = ordinal; return 0; }
int cuCtxGetDevice(int *device) {
    if (getenv("NO_CONTEXT") != NULL) return 201;
    *device = 1;
    return 0;
}
int cuCtxGetCurrent(void **found) { *found = getenv("NO_CONTEXT") != NULL ? NULL : context; return 0; }
int cuCtxSetCurrent(void *chosen) { context = chosen; return 0; }
int cuDeviceGetName(char *name, int length, int device) {
    strncpy(name, device ? "NVIDIA Second" : "NVIDIA First", length);
    return 0;
}
int cuDeviceGetAttribute(int *value, int attribute, int device) {
    if (attribute != 75 && attribute != 76) return 1;
    *value = attribute == 75 ? 8 : (device ? 9 : 6);
    return 0;
}
int cuDriverGetVersion(int *version) { *version = 13010; return 0; }
int cuGetErrorString(int code, const char **text) { *text = code == 100 ? "no CUDA-capable device" : NULL; return 0; }
