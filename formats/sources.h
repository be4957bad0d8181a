/* SPDX-License-Identifier: MIT */
/*
 * The inside of a checkpoint, shared by the readers of formats/, and the table of readers.
 *
 * To add a format: one file with a `const hone_reader`, one line in probe.c.
 */
#ifndef HONE_SOURCES_H
#define HONE_SOURCES_H

#include <jansson.h>

#include "base/arena.h"
#include "base/file.h"
#include "hone/checkpoint.h"

struct hone_checkpoint {
    const char *format; /* static */
    char *path;         /* as given to open */
    char *dir;          /* where sidecar files (tokenizer.json, ...) lie */
    hone_file *files;
    size_t n_files, cap_files;
    hone_file scratch;    /* entries inflated while opening; path NULL: none were */
    bool has_index;       /* tensors are named as an index names them: readers strip no prefix */
    hone_tensor *tensors; /* file order */
    size_t n_tensors, cap_tensors;
    hone_tensor *stacks; /* see hone_checkpoint_stack_experts() */
    size_t n_stacks, cap_stacks;
    size_t *by_name; /* indices into tensors, sorted by name; made by hone_checkpoint_seal_tables() */
    hone_string
        *sums; /* per file, as far as it goes: hex checksums of its tensors in the order of their data; or none */
    size_t n_sums, cap_sums;
    hone_metadata *metadata;
    size_t n_metadata, cap_metadata;
    json_t *config; /* config.json, an object, or NULL */
    char *config_path;
    /* GGUF, for hone_checkpoint_check(): byte positions of the header's end and of its checksum's value (0: none). */
    uint64_t data_start, alignment, header_sum_at;
    const char *architecture; /* borrowed from config or metadata, or NULL */
    hone_arena arena;         /* names, strings, arrays */
};

/*
 * Add a tensor. name must live in the arena. Checks that shape, dtype and nbytes agree and that the data lies within
 * its file. at is the header offset reported in errors.
 */
hone_status hone_checkpoint_add_tensor(hone_checkpoint *ckpt, const hone_tensor *tensor, uint64_t at, hone_error *err);

hone_status hone_checkpoint_add_file(hone_checkpoint *ckpt, const char *path, hone_error *err);

hone_status hone_checkpoint_add_metadata(hone_checkpoint *ckpt, const hone_metadata *entry, hone_error *err);

/* hone_checkpoint_set_sums() remembers the checksums a file's header holds; text lives in the arena. NOMEM. */
hone_status hone_checkpoint_set_sums(hone_checkpoint *ckpt, unsigned file, hone_string text, hone_error *err);

/*
 * hone_tensor_measure() sets tensor->nelems and nbytes from its dtype and shape. Returns NULL, or why they contradict
 * each other (static).
 */
const char *hone_tensor_measure(hone_tensor *tensor);

/* hone_checkpoint_seal_tables() makes the name index, once every tensor is in. DATA: two tensors of one name. NOMEM. */
hone_status hone_checkpoint_seal_tables(hone_checkpoint *ckpt, hone_error *err);

/*
 * hone_checkpoint_read_directory() adds the weights of the Hugging Face directory ckpt->dir: the shards named by
 * model.safetensors.index.json, else model.safetensors, else the same of pytorch_model.bin, else the one *.safetensors
 * file there is. FORMAT: none of them.
 */
hone_status hone_checkpoint_read_directory(hone_checkpoint *ckpt, hone_error *err);

/*
 * A tensor whose elements do not lie in the file row by row as its dtype says: a strided view, a compressed entry,
 * weights quantized in pieces. read() produces nbytes of its row-major bytes from offset on; both are multiples of the
 * element size. Embedded as the first member of what read() needs; lives in the checkpoint's arena. Such a tensor is
 * not bounded by its file: its reader checked it.
 */
typedef struct hone_view {
    hone_status (*read)(const hone_checkpoint *ckpt, const hone_tensor *tensor, uint64_t offset, size_t nbytes,
                        void *dst, hone_error *err);
    bool gathered;                            /* a few rows lie in many places of the file, as of a transposed matrix */
    void (*close)(const hone_tensor *tensor); /* releases what is not in the arena; or NULL */
} hone_view;

/*
 * hone_checkpoint_stack_experts() makes one tensor of the experts of each layer, [n, rows, cols], where they are stored
 * one by one as PREFIX.experts.0.SUFFIX and so on. It is called PREFIX.experts.SUFFIX, and hone_checkpoint_find() finds
 * it; it is not listed. Call it on sealed tables. LIMIT, NOMEM.
 */
hone_status hone_checkpoint_stack_experts(hone_checkpoint *ckpt, hone_error *err);

/* hone_checkpoint_find_stack() returns the stack of that name, hone_checkpoint_stack_of() that which a tensor is part
 * of; NULL if there is none. */
const hone_tensor *hone_checkpoint_find_stack(const hone_checkpoint *ckpt, const char *name);
const hone_tensor *hone_checkpoint_stack_of(const hone_checkpoint *ckpt, const hone_tensor *tensor);

/* hone_tensor_is_gathered() tells whether reading rows takes many small reads, fewer per row the more rows there are.
 */
bool hone_tensor_is_gathered(const hone_tensor *tensor);

/* A reader adds file number `file` (already open in ckpt->files) to the checkpoint's tables. */
typedef struct hone_reader {
    const char *name;
    /* head holds the first head_nbytes (up to 16) bytes of a file of file_nbytes. */
    bool (*probe)(const uint8_t *head, size_t head_nbytes, uint64_t file_nbytes);
    hone_status (*read)(hone_checkpoint *ckpt, unsigned file, hone_error *err);
} hone_reader;

extern const hone_reader hone_safetensors_reader;
extern const hone_reader hone_gguf_reader;
extern const hone_reader hone_zip_reader;            /* PyTorch's zip form, and .npz */
extern const hone_reader hone_pytorch_legacy_reader; /* PyTorch before 1.6 */
extern const hone_reader hone_npy_reader;

/*
 * hone_checkpoint_read_file() adds file number `file` through the reader that its contents, or else its name, call for,
 * and sets ckpt->format. FORMAT: none.
 */
hone_status hone_checkpoint_read_file(hone_checkpoint *ckpt, unsigned file, hone_error *err);

/* hone_checkpoint_config() returns config.json as an object, or NULL. Borrowed. */
const json_t *hone_checkpoint_config(const hone_checkpoint *ckpt);

/*
 * hone_checkpoint_fail_in_config() completes an error about config.json: when its item is the name of a key and
 * nothing else is known, the file and the position of that key (or of the object that lacks it) are added. inside: a
 * member of the root that the key is in, or NULL. Returns status.
 */
hone_status hone_checkpoint_fail_in_config(const hone_checkpoint *ckpt, const char *inside, hone_status status,
                                           hone_error *err);

/*
 * hone_checkpoint_sidecar() reads a file beside the weights, such as tokenizer.json. *text is NUL-terminated
 * (hone_release). When it does not exist: HONE_OK and *text NULL.
 */
hone_status hone_checkpoint_sidecar(const hone_checkpoint *ckpt, const char *name, uint64_t max_nbytes, char **text,
                                    size_t *len, hone_error *err);

#endif
