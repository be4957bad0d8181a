/* SPDX-License-Identifier: MIT */
/*
 * A fuzz target is one file with this function. libFuzzer calls it with inputs of its own; replay.c calls it with
 * the seeds and simple damage to them, so that plain gcc can run it.
 */
#ifndef HONE_FUZZ_TARGET_H
#define HONE_FUZZ_TARGET_H

#include <stddef.h>
#include <stdint.h>

#include "formats/sources.h"

/* The name and type are libFuzzer's. Returns 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t nbytes);

/* hone_fuzz_file() makes a file in memory; path gets a name to open it by. close() the descriptor. */
int hone_fuzz_file(const uint8_t *data, size_t nbytes, char path[64]);

/* hone_fuzz_open() opens nbytes as a file through the library, walks all that it shows, and closes it. */
void hone_fuzz_open(const uint8_t *data, size_t nbytes);

/*
 * hone_fuzz_read() is hone_fuzz_open() that gives the file to one reader, whatever it looks like. With a config
 * (released here), quantized weights are found in it as well.
 */
void hone_fuzz_read(const hone_reader *reader, const uint8_t *data, size_t nbytes, json_t *config);

#endif
