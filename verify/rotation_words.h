/* SPDX-License-Identifier: MIT */
/* What of a model is rotated, and the words for it: "none", or "residual", "heads" or "heads:0,3", or both with a plus
 * between. */
#ifndef HONE_ROTATION_WORDS_H
#define HONE_ROTATION_WORDS_H

#include <stdbool.h>
#include <stddef.h>

#include "hone/status.h"

typedef struct hone_rotated_parts {
    bool residual;
    bool *heads; /* (n_layers) */
    size_t n_layers;
} hone_rotated_parts;

/* hone_rotated_parts_parse() reads words into *parts, whose heads lie ready and are false. ARG: other words, or a layer
 * beyond the last. */
hone_status hone_rotated_parts_parse(const char *words, hone_rotated_parts *parts, hone_error *err);

/* hone_rotated_parts_print() returns the words; hone_release(). NULL: out of memory. */
char *hone_rotated_parts_print(const hone_rotated_parts *parts);

#endif
