/* SPDX-License-Identifier: MIT */
/*
 * What PyTorch puts into a pickle: storages, tensors, and the few names that a checkpoint may use.
 *
 * A storage is a run of elements of one type that lies elsewhere in the file; a tensor is a view of a storage by
 * offset, shape and strides, all counted in elements. Names that are not on the list are refused: see torch_objects.c.
 */
#ifndef HONE_TORCH_OBJECTS_H
#define HONE_TORCH_OBJECTS_H

#include "formats/pickle.h"
#include "hone/tensor.h"

/* Tags of HONE_PICKLE_OBJECT values. */
enum { HONE_TORCH_STORAGE = 1, HONE_TORCH_TENSOR };

/* An element type as the pickle names it. dtype is HONE_INVALID for those the dtype table lacks. */
typedef struct hone_torch_type {
    const char *name; /* "FloatStorage", "float8_e4m3fn" */
    hone_dtype dtype;
    bool is_untyped; /* bytes: only the tensor says what they are */
} hone_torch_type;

typedef struct hone_torch_storage {
    const hone_torch_type *type;
    const char *key; /* NUL-terminated: the entry's name, or an id */
    uint64_t nelems;
    bool is_part; /* legacy: only nelems_part elements from first_part on of the storage called key */
    uint64_t first_part, nelems_part;
    uint32_t at; /* position in the pickle */
    const struct hone_torch_storage *next;
} hone_torch_storage;

typedef struct hone_torch_tensor {
    const hone_torch_storage *storage;
    const hone_torch_type *type;
    uint64_t first; /* element of the storage */
    unsigned n_dims;
    uint64_t shape[HONE_MAX_DIMS], strides[HONE_MAX_DIMS];
} hone_torch_tensor;

extern const hone_pickle_dialect hone_torch_dialect;

/* hone_torch_storages() returns all storages that a pickle of this dialect mentions, the last first, repeats included.
 */
const hone_torch_storage *hone_torch_storages(const hone_pickle *p);

/* hone_torch_elem_nbytes() returns the size of an element of a storage; 1 when untyped; 0 when the type is not handled.
 */
uint32_t hone_torch_elem_nbytes(const hone_torch_type *type);

/* hone_torch_storage_of(), hone_torch_tensor_of() return the value's object, or NULL when it is no such thing. */
const hone_torch_storage *hone_torch_storage_of(const hone_pickle_value *value);
const hone_torch_tensor *hone_torch_tensor_of(const hone_pickle_value *value);

#endif
