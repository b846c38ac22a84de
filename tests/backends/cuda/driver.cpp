// A CUDA driver library without a GPU: its memory is the host's, its streams are done at once, and it launches the one
// kernel that it knows, compiled for the host. It holds callers to what the driver API says of contexts and handles:
// https://docs.nvidia.com/cuda/cuda-driver-api/. The real bindings run on it: their signatures are what is tested.
#include <cstdint>
#include <cstdlib>
#include <dlfcn.h>
#include <mutex>
#include <set>
#include <string>

#include "host.h"

#define API extern "C" __attribute__((visibility("default")))
enum { OK = 0, INVALID_VALUE = 1, NO_DEVICE = 100, INVALID_CONTEXT = 201, INVALID_HANDLE = 400, UNSUPPORTED = 801 };

static std::mutex guard;
static std::set<std::pair<char, uintptr_t>> live; // by kind: memory, pinned, stream, event, graph, executable
static thread_local std::vector<void *> contexts;
static char primary, kernel, module_;
static uintptr_t next_handle = 0x1000;
static thread_local bool capturing;

static int made(char kind, uintptr_t handle)
{
    std::lock_guard<std::mutex> lock(guard);
    live.insert({kind, handle});
    return OK;
}

static int make(char kind, void **handle)
{
    if (contexts.empty())
        return INVALID_CONTEXT;
    *handle = (void *)(next_handle += 16);
    return made(kind, (uintptr_t)*handle);
}

static int drop(char kind, uintptr_t handle)
{
    std::lock_guard<std::mutex> lock(guard);
    return live.erase({kind, handle}) ? OK : kind == 'm' || kind == 'p' ? INVALID_VALUE : INVALID_HANDLE;
}

static int known(char kind, void *handle)
{
    std::lock_guard<std::mutex> lock(guard);
    if (contexts.empty())
        return INVALID_CONTEXT;
    bool standard = kind == 's' && (uintptr_t)handle < 3; // the default streams
    return standard || live.count({kind, (uintptr_t)handle}) ? OK : INVALID_HANDLE;
}

API int live_objects(void)
{
    std::lock_guard<std::mutex> lock(guard);
    return live.size();
}

API int cuInit(unsigned) { return getenv("NO_GPU") ? NO_DEVICE : OK; }
API int cuDriverGetVersion(int *version) { *version = 13010; return OK; }
API int cuDeviceGetCount(int *count) { *count = 1; return OK; }
API int cuDeviceGet(int *device, int ordinal) { *device = ordinal; return ordinal ? INVALID_VALUE : OK; }
API int cuDeviceGetName(char *name, int length, int device)
{
    strncpy(name, device ? "a second one" : "no GPU at all", length);
    return OK;
}
API int cuDeviceGetAttribute(int *value, int attribute, int device)
{
    *value = attribute == 75 ? 8 : attribute == 76 ? (device ? 9 : 6) : attribute == 10 ? 32 : 0;
    return OK;
}
API int cuDeviceComputeCapability(int *major, int *minor, int) { *major = 8; *minor = 6; return OK; }
API int cuDevicePrimaryCtxRetain(void **context, int) { *context = &primary; return OK; }
API int cuDevicePrimaryCtxRelease_v2(int) { return OK; }
API int cuCtxPushCurrent_v2(void *context) { contexts.push_back(context); return OK; }
API int cuCtxPopCurrent_v2(void **context)
{
    if (contexts.empty())
        return INVALID_CONTEXT;
    if (context)
        *context = contexts.back();
    contexts.pop_back();
    return OK;
}
API int cuCtxGetCurrent(void **context) { *context = contexts.empty() ? nullptr : contexts.back(); return OK; }
API int cuCtxSetCurrent(void *context) { contexts.assign(context ? 1 : 0, context); return OK; }
// Another context than the first GPU's primary one is the second GPU's.
API int cuCtxGetDevice(int *device)
{
    *device = !contexts.empty() && contexts.back() != &primary;
    return contexts.empty() ? INVALID_CONTEXT : OK;
}
API int cuCtxSynchronize(void) { return contexts.empty() ? INVALID_CONTEXT : OK; }
API int cuCtxGetApiVersion(void *, unsigned *version) { *version = 13000; return OK; }

API int cuMemAlloc_v2(uint64_t *address, size_t size)
{
    if (contexts.empty())
        return INVALID_CONTEXT;
    if (capturing)
        return 900;
    *address = size ? (uint64_t)aligned_alloc(256, (size + 255) / 256 * 256) : 0;
    return !size ? INVALID_VALUE : *address ? made('m', *address) : 2;
}
API int cuMemFree_v2(uint64_t address)
{
    int done = contexts.empty() ? INVALID_CONTEXT : drop('m', address);
    if (done == OK)
        free((void *)address);
    return done;
}
API int cuMemHostAlloc(void **address, size_t size, unsigned)
{
    if (contexts.empty())
        return INVALID_CONTEXT;
    *address = aligned_alloc(4096, (size + 4095) / 4096 * 4096);
    return made('p', (uintptr_t)*address);
}
API int cuMemFreeHost(void *address)
{
    int done = contexts.empty() ? INVALID_CONTEXT : drop('p', (uintptr_t)address);
    if (done == OK)
        free(address);
    return done;
}
static int copy(void *to, const void *from, size_t size, void *stream)
{
    int done = known('s', stream);
    if (done == OK)
        memcpy(to, from, size);
    return done;
}
API int cuMemcpyHtoDAsync_v2(uint64_t to, const void *from, size_t size, void *s) { return copy((void *)to, from, size, s); }
API int cuMemcpyDtoHAsync_v2(void *to, uint64_t from, size_t size, void *s) { return copy(to, (void *)from, size, s); }
API int cuMemcpyDtoDAsync_v2(uint64_t to, uint64_t from, size_t size, void *s)
{
    return copy((void *)to, (void *)from, size, s);
}

API int cuStreamCreate(void **stream, unsigned flags) { return flags == 1 ? make('s', stream) : INVALID_VALUE; }
API int cuStreamDestroy_v2(void *stream) { return drop('s', (uintptr_t)stream); }
API int cuStreamSynchronize(void *stream) { return known('s', stream); }
API int cuStreamWaitEvent(void *stream, void *event, unsigned) { return known('s', stream) | known('e', event); }
API int cuStreamBeginCapture_v2(void *stream, int mode)
{
    capturing = mode == 1;
    return mode == 1 ? known('s', stream) : INVALID_VALUE;
}
API int cuStreamEndCapture(void *, void **graph)
{
    if (!capturing)
        return 901;
    capturing = false;
    return make('g', graph);
}
API int cuGraphInstantiateWithFlags(void **made, void *graph, unsigned long long) { return known('g', graph) | make('x', made); }
API int cuGraphLaunch(void *graph, void *stream) { return known('x', graph) | known('s', stream); }
API int cuGraphDestroy(void *graph) { return drop('g', (uintptr_t)graph); }
API int cuGraphExecDestroy(void *graph) { return drop('x', (uintptr_t)graph); }

API int cuEventCreate(void **event, unsigned flags) { return flags == 2 ? make('e', event) : INVALID_VALUE; }
API int cuEventDestroy_v2(void *event) { return drop('e', (uintptr_t)event); }
API int cuEventRecord(void *event, void *stream) { return known('e', event) | known('s', stream); }
API int cuEventSynchronize(void *event) { return known('e', event); }

API int cuModuleLoadData(void **module, const void *image)
{
    *module = &module_;
    return contexts.empty() ? INVALID_CONTEXT : memcmp(image, "\177ELF", 4) ? INVALID_VALUE : OK;
}
API int cuModuleLoadDataEx(void **module, const void *image, unsigned, void *, void **) { return cuModuleLoadData(module, image); }
API int cuModuleUnload(void *) { return OK; }
API int cuModuleGetFunction(void **function, void *, const char *name)
{
    *function = &kernel;
    return std::string(name) == "crops" ? OK : 500;
}
API int cuFuncGetAttribute(int *value, int, void *) { *value = 0; return OK; }
API int cuFuncSetBlockShape(void *, int, int, int) { return OK; }
API int cuFuncSetSharedSize(void *, unsigned) { return OK; }

// The sizes of the kernel's arguments, in its order, as a buffer that holds them one behind the other has them.
static const size_t sizes[] = {8, 8, 8, 8, 8, 4, 4, 4, 4, 8, 4, 4, 4, 4, 4, 4, 4, 4, 4};

API int cuLaunchKernel(void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                       unsigned shared, void *stream, void **arguments, void **extra)
{
    if (function != &kernel || known('s', stream) != OK)
        return INVALID_HANDLE;
    void *found[19];
    if (!arguments) { // CU_LAUNCH_PARAM_BUFFER_POINTER
        char *place = (char *)extra[1];
        size_t offset = 0;
        for (int i = 0; i < 19; i++) {
            offset = (offset + sizes[i] - 1) / sizes[i] * sizes[i];
            found[i] = place + offset;
            offset += sizes[i];
        }
        arguments = found;
    }
    Index grid = {gx, gy, gz}, block = {bx, by, bz};
    crops_on_host(&grid, &block, shared, arguments);
    return OK;
}

API int cuGetErrorName(int error, const char **text) { *text = error ? "CUDA_ERROR_PRETENDED" : "CUDA_SUCCESS"; return OK; }
API int cuGetErrorString(int error, const char **text)
{
    static thread_local std::string kept;
    *text = (kept = "pretended error " + std::to_string(error)).c_str();
    return OK;
}
API int cuGetProcAddress_v2(const char *name, void **found, int, uint64_t, int *status)
{
    for (const char *version : {"_v3", "_v2", ""})
        if ((*found = dlsym(RTLD_DEFAULT, (std::string(name) + version).c_str())))
            break;
    if (status)
        *status = *found ? 0 : 1;
    return *found ? OK : 500;
}
API int cuGetProcAddress(const char *name, void **found, int version, uint64_t flags)
{
    return cuGetProcAddress_v2(name, found, version, flags, nullptr);
}

// What a binding links to and we never call; the test names them.
#define NEVER(name) API int name(void) { return UNSUPPORTED; }
#ifdef REST
#include REST
#endif
