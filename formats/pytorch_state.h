/* SPDX-License-Identifier: MIT */
/*
 * From an unpickled state dict to named tensors, whichever of PyTorch's two file forms it came from.
 *
 * Names. Tensors in nested dicts, lists and tuples are called by their path: "a.b.c", "a.0". Everything else is left
 * out. A tensor that is the whole object is called "tensor". Wrappers. While the outermost dict has an entry
 * "state_dict", "model_state_dict", "model" or "module" (the first of these there is) that is a dict, and its other
 * entries hold no tensors but the state of a training run (names that start with "optim", "lr_sched", "sched",
 * "scaler", "rng_state", "cuda_rng_state", "callbacks" or "loops"), that entry takes its place. Then, if all names
 * start with "module.", that is left out. Neither is done to shards of an index, which names their tensors already.
 */
#ifndef HONE_PYTORCH_STATE_H
#define HONE_PYTORCH_STATE_H

#include "formats/strided_view.h"
#include "formats/torch_objects.h"

typedef struct hone_torch_state {
    hone_checkpoint *ckpt;
    unsigned file;
    const hone_pickle *pickle;
    uint64_t pickle_at;   /* of the pickle in the file */
    bool pickle_in_place; /* as it is; else deflated, and errors within it are reported at pickle_at */
    bool big_endian;
    /* Where the elements of a storage lie. at and name are for its errors. */
    hone_status (*locate)(void *user, const hone_torch_storage *storage, uint64_t at, const char *name,
                          hone_payload *out, hone_error *err);
    void *user;
} hone_torch_state;

/*
 * hone_torch_add_state() adds the tensors to the checkpoint.
 * UNSUPPORTED: an element type that is not handled, a tensor under a key that is no name, or whose name is too long.
 * DATA: a view that leaves its storage. LIMIT: nested deeper than 64, or more tensors than any model has. NOMEM.
 */
hone_status hone_torch_add_state(const hone_torch_state *state, hone_error *err);

/* hone_torch_offset() returns the file position of a position in the pickle. */
uint64_t hone_torch_offset(const hone_torch_state *state, uint64_t at);

#endif
