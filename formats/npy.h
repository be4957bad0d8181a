/* SPDX-License-Identifier: MIT */
/* One NumPy array: a .npy file, or an entry of a .npz file. */
#ifndef HONE_NPY_H
#define HONE_NPY_H

#include "formats/strided_view.h"

/*
 * hone_npy_add() adds the array in payload under a name that lives in the arena. Errors are reported at file position
 * at + the position in the array's header; with at_is_fixed, at is all that can be said. FORMAT: no array. UNSUPPORTED:
 * a version above 3, elements that are no plain numbers. DATA: contradictory header, too few or too many bytes.
 */
hone_status hone_npy_add(hone_checkpoint *ckpt, unsigned file, const char *name, const hone_payload *payload,
                         uint64_t at, bool at_is_fixed, hone_error *err);

#endif
