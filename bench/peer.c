/* SPDX-License-Identifier: MIT */
#include "bench/peer.h"

#include <dlfcn.h>
#include <glob.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * llama_model_quantize_params as llama.h has it since 2024, up to what we set. Newer versions have more behind it: the
 * defaults are written by the library itself, so there is room for them.
 */
struct quantize_params {
    int32_t n_threads;
    int32_t file_type;
    int32_t output_tensor_type, token_embedding_type;
    bool allow_requantize, quantize_output_tensor, only_copy, pure;
    char rest[236];
};

struct hone_peer {
    void *library;
    struct quantize_params (*default_params)(void);
    uint32_t (*quantize)(const char *src, const char *dst, const struct quantize_params *params);
};

/* llama_ftype: the file type whose matrices are all of a dtype under `pure`. */
static const struct {
    hone_dtype dtype;
    int32_t file_type;
} file_types[] = {
    {HONE_Q4_0, 2},   {HONE_Q8_0, 7},   {HONE_Q5_0, 8},   {HONE_Q2_K, 10},   {HONE_Q3_K, 12},
    {HONE_Q4_K, 15},  {HONE_Q5_K, 17},  {HONE_Q6_K, 18},  {HONE_IQ4_NL, 25}, {HONE_IQ4_XS, 30},
    {HONE_MXFP4, 38}, {HONE_NVFP4, 39}, {HONE_IQ3_S, 26},
};

static void say_nothing(int level, const char *text, void *user)
{
    (void)level;
    (void)text;
    (void)user;
}

static void *open_first(const char *pattern)
{
    glob_t found;
    void *library = NULL;
    if (glob(pattern, 0, NULL, &found) != 0)
        return NULL;
    for (size_t i = 0; i < found.gl_pathc && !library; i++)
        library = dlopen(found.gl_pathv[i], RTLD_NOW | RTLD_LOCAL);
    globfree(&found);
    return library;
}

/* A libggml alone cannot read files; the libllama beside it can. */
static void *open_named(const char *path)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library && dlsym(library, "llama_model_quantize"))
        return library;
    if (library)
        (void)dlclose(library);
    char beside[4096];
    const char *slash = strrchr(path, '/');
    (void)snprintf(beside, sizeof beside, "%.*slibllama.*", slash ? (int)(slash - path + 1) : 0, path);
    return open_first(beside);
}

static void *open_installed(void)
{
    static const char in_environment[] = "/lib/python3*/site-packages/llama_cpp/lib/libllama.*";
    const struct {
        const char *variable, *below;
    } environments[] = {
        {"VIRTUAL_ENV", ""},
        {"HONE_ORACLE_VENV", ""},
        {"XDG_CACHE_HOME", "/hone-oracle"},
        {"HOME", "/.cache/hone-oracle"},
        {"HOME", "/.local"},
    };
    char pattern[4096];
    void *library = NULL;
    for (size_t i = 0; i < sizeof environments / sizeof environments[0] && !library; i++) {
        const char *root = getenv(environments[i].variable);
        if (!root || !*root)
            continue;
        (void)snprintf(pattern, sizeof pattern, "%s%s%s", root, environments[i].below, in_environment);
        library = open_first(pattern);
    }
    if (!library)
        library = open_first("/usr/lib/python3*/*-packages/llama_cpp/lib/libllama.*");
    return library ? library : open_first("/usr/local/lib/python3*/*-packages/llama_cpp/lib/libllama.*");
}

/* Functions come as data pointers; POSIX says that they may be taken for each other. */
static void find(void *library, const char *name, void *function)
{
    void *symbol = dlsym(library, name);
    memcpy(function, &symbol, sizeof symbol);
}

hone_peer *hone_peer_open(const char **why)
{
    const char *named = getenv("LLAMA_CPP_LIB");
    void *library = named && *named ? open_named(named) : open_installed();
    *why = named && *named ? "LLAMA_CPP_LIB names no libllama that can be loaded"
                           : "no llama-cpp-python found; LLAMA_CPP_LIB names a libllama";
    if (!library)
        return NULL;
    hone_peer *peer = malloc(sizeof *peer);
    if (!peer)
        abort();
    peer->library = library;
    find(library, "llama_model_quantize_default_params", &peer->default_params);
    find(library, "llama_model_quantize", &peer->quantize);
    void (*set_log)(void (*)(int, const char *, void *), void *), (*init)(void);
    find(library, "llama_log_set", &set_log);
    find(library, "llama_backend_init", &init);
    if (!peer->default_params || !peer->quantize || !set_log || !init) {
        *why = "the libllama found has no quantizer";
        hone_peer_close(peer);
        return NULL;
    }
    set_log(say_nothing, NULL);
    init();
    return peer;
}

bool hone_peer_quantize(const hone_peer *peer, const char *src, const char *dst, hone_dtype dtype, int n_threads)
{
    for (size_t i = 0; i < sizeof file_types / sizeof file_types[0]; i++) {
        if (file_types[i].dtype != dtype)
            continue;
        struct quantize_params params = peer->default_params();
        params.n_threads = n_threads;
        params.file_type = file_types[i].file_type;
        params.pure = true;
        return peer->quantize(src, dst, &params) == 0;
    }
    return false;
}

void hone_peer_close(hone_peer *peer)
{
    if (peer)
        (void)dlclose(peer->library);
    free(peer);
}
