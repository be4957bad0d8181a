/* SPDX-License-Identifier: MIT */
/* The formats that come as zip files. zip_reader.c tells them apart. */
#ifndef HONE_ZIP_READER_H
#define HONE_ZIP_READER_H

#include "formats/sources.h"
#include "formats/zip.h"

/*
 * hone_pytorch_find_root() sets *root to the entry <folder>/data.pkl of a PyTorch checkpoint, NULL when there is none.
 * DATA: two.
 */
hone_status hone_pytorch_find_root(const hone_zip *zip, const hone_zip_entry **root, hone_error *err);

/* hone_pytorch_add_zip() adds the tensors of the state dict in root. */
hone_status hone_pytorch_add_zip(hone_checkpoint *ckpt, unsigned file, const hone_zip *zip, const hone_zip_entry *root,
                                 hone_error *err);

/* hone_npz_has_arrays() tells whether an entry is called *.npy; hone_npz_add_zip() adds all that are. */
bool hone_npz_has_arrays(const hone_zip *zip);
hone_status hone_npz_add_zip(hone_checkpoint *ckpt, unsigned file, const hone_zip *zip, hone_error *err);

#endif
