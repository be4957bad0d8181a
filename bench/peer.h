/* SPDX-License-Identifier: MIT */
/*
 * llama.cpp's quantizer, to compare with: its shared library is loaded at run time where there is one.
 *
 * It is looked for in $LLAMA_CPP_LIB, and in the llama-cpp-python of $VIRTUAL_ENV, of tests/oracle's environment and of
 * the system.
 */
#ifndef HONE_BENCH_PEER_H
#define HONE_BENCH_PEER_H

#include <stdbool.h>

#include "hone/tensor.h"

typedef struct hone_peer hone_peer;

/* hone_peer_open() loads the library, or returns NULL and tells in *why what is missing. Static. */
hone_peer *hone_peer_open(const char **why);

/* hone_peer_quantize() quantizes every matrix of a GGUF file to dtype, file to file. False where the library cannot. */
bool hone_peer_quantize(const hone_peer *peer, const char *src, const char *dst, hone_dtype dtype, int n_threads);

void hone_peer_close(hone_peer *peer);

#endif
