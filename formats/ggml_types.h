/* SPDX-License-Identifier: MIT */
/* The type numbers of GGUF tensor tables, those of forks included. */
#ifndef HONE_GGML_TYPES_H
#define HONE_GGML_TYPES_H

#include <stdint.h>

#include "hone/tensor.h"

/* hone_dtype_from_ggml_id() finds the dtype of a ggml type number; HONE_INVALID if hone has none. */
hone_dtype hone_dtype_from_ggml_id(uint32_t id);

/* hone_ggml_type_name() names a type number that hone has no dtype for; NULL if nobody is known to use it. Static. */
const char *hone_ggml_type_name(uint32_t id);

#endif
