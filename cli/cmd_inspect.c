/* SPDX-License-Identifier: MIT */
/* hone inspect: what a source holds, from its headers alone. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/json_out.h"
#include "cli/metadata_out.h"
#include "cli/report.h"
#include "cli/session.h"
#include "cli/table.h"

struct summary {
    uint64_t nelems;
    double bpw;
    bool checksums;
    uint64_t tensors_of[HONE_N_DTYPES], nbytes_of[HONE_N_DTYPES];
};

static struct summary summarize(const hone_checkpoint *ckpt)
{
    struct summary s = {.bpw = hone_cli_bits_per_weight(ckpt)};
    for (size_t i = 0; i < hone_checkpoint_n_tensors(ckpt); i++) {
        const hone_tensor *t = hone_checkpoint_tensor(ckpt, i);
        s.nelems += t->nelems;
        if (t->dtype < HONE_N_DTYPES) {
            s.tensors_of[t->dtype]++;
            s.nbytes_of[t->dtype] += t->nbytes;
        }
    }
    s.checksums = hone_checkpoint_has_checksums(ckpt);
    return s;
}

static const char *or_none(const char *s)
{
    return s ? s : "not named";
}

/* The shards of a checkpoint lie in one directory: the last part of a path tells them apart. */
static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static void print_summary(const hone_checkpoint *ckpt, const struct summary *s)
{
    char buf[HONE_CLI_SIZE_LEN];
    hone_cli_table *t = hone_cli_table_new("<|<");
    hone_cli_table_cell(t, "path");
    hone_cli_table_cell(t, "%s", hone_checkpoint_path(ckpt));
    hone_cli_table_cell(t, "format");
    hone_cli_table_cell(t, "%s", hone_checkpoint_format(ckpt));
    hone_cli_table_cell(t, "architecture");
    hone_cli_table_cell(t, "%s", or_none(hone_checkpoint_architecture(ckpt)));
    hone_cli_table_cell(t, "files");
    hone_cli_table_cell(t, "%zu", hone_checkpoint_n_files(ckpt));
    hone_cli_table_cell(t, "tensors");
    hone_cli_table_cell(t, "%zu", hone_checkpoint_n_tensors(ckpt));
    hone_cli_table_cell(t, "parameters");
    hone_cli_table_cell(t, "%s (%" PRIu64 ")", hone_cli_count(s->nelems, buf), s->nelems);
    hone_cli_table_cell(t, "size");
    hone_cli_table_cell(t, "%s (%" PRIu64 " bytes)", hone_cli_size(hone_checkpoint_nbytes(ckpt), buf),
                        hone_checkpoint_nbytes(ckpt));
    hone_cli_table_cell(t, "bits per weight");
    hone_cli_table_cell(t, "%.3f", s->bpw);
    hone_cli_table_cell(t, "checksums");
    hone_cli_table_cell(t, "%s", s->checksums ? "carried (hone check)" : "not carried");
    hone_cli_table_print(t);

    if (hone_checkpoint_n_tensors(ckpt) == 0)
        return;
    (void)putchar('\n');
    t = hone_cli_table_new("<type|>tensors|>size");
    for (int d = 0; d < HONE_N_DTYPES; d++) {
        if (!s->tensors_of[d])
            continue;
        hone_cli_table_cell(t, "%s", hone_dtype_describe((hone_dtype)d)->name);
        hone_cli_table_cell(t, "%" PRIu64, s->tensors_of[d]);
        hone_cli_table_cell(t, "%s", hone_cli_size(s->nbytes_of[d], buf));
    }
    hone_cli_table_print(t);
}

static void print_tensors(const hone_checkpoint *ckpt)
{
    const bool several = hone_checkpoint_n_files(ckpt) > 1;
    hone_cli_table *t = hone_cli_table_new(several ? "<tensor|<type|<shape|>bytes|>offset|<file"
                                                   : "<tensor|<type|<shape|>bytes|>offset");
    for (size_t i = 0; i < hone_checkpoint_n_tensors(ckpt); i++) {
        const hone_tensor *tensor = hone_checkpoint_tensor(ckpt, i);
        char shape[HONE_CLI_SHAPE_LEN];
        hone_cli_table_cell(t, "%s", tensor->name);
        hone_cli_table_cell(t, "%s", hone_dtype_describe(tensor->dtype)->name);
        hone_cli_table_cell(t, "%s", hone_cli_shape(tensor->shape, tensor->n_dims, shape));
        hone_cli_table_cell(t, "%" PRIu64, tensor->nbytes);
        hone_cli_table_cell(t, "%" PRIu64, tensor->offset);
        if (several)
            hone_cli_table_cell(t, "%s", base_name(hone_checkpoint_file(ckpt, tensor->file)));
    }
    (void)putchar('\n');
    hone_cli_table_print(t);
}

static void print_metadata(const hone_checkpoint *ckpt)
{
    hone_cli_table *t = hone_cli_table_new("<key|<type|<value");
    for (size_t i = 0; i < hone_checkpoint_n_metadata(ckpt); i++) {
        const hone_metadata *m = hone_checkpoint_metadata(ckpt, i);
        char value[640];
        hone_cli_table_cell(t, "%.*s", (int)(m->key.len < 256 ? m->key.len : 256), m->key.data);
        hone_cli_table_cell(t, "%s", hone_cli_value_type_name(m->type));
        hone_cli_table_cell(t, "%s", hone_cli_metadata_text(m, value, sizeof value));
    }
    (void)putchar('\n');
    hone_cli_table_print(t);
}

static json_t *tensors_json(const hone_checkpoint *ckpt)
{
    json_t *array = hone_cli_json_array();
    for (size_t i = 0; i < hone_checkpoint_n_tensors(ckpt); i++) {
        const hone_tensor *t = hone_checkpoint_tensor(ckpt, i);
        json_t *o = hone_cli_json_object();
        hone_cli_json_put(o, "name", hone_cli_json_text(t->name));
        hone_cli_json_put(o, "type", hone_cli_json_text(hone_dtype_describe(t->dtype)->name));
        hone_cli_json_put(o, "shape", hone_cli_json_shape(t->shape, t->n_dims));
        hone_cli_json_put(o, "bytes", hone_cli_json_uint(t->nbytes));
        hone_cli_json_put(o, "offset", hone_cli_json_uint(t->offset));
        hone_cli_json_put(o, "file", hone_cli_json_uint(t->file));
        hone_cli_json_add(array, o);
    }
    return array;
}

static json_t *metadata_json(const hone_checkpoint *ckpt)
{
    json_t *object = hone_cli_json_object();
    for (size_t i = 0; i < hone_checkpoint_n_metadata(ckpt); i++) {
        const hone_metadata *m = hone_checkpoint_metadata(ckpt, i);
        json_t *key = hone_cli_json_string(m->key); /* as valid UTF-8 */
        hone_cli_json_put(object, json_string_value(key), hone_cli_metadata_json(m));
        json_decref(key);
    }
    return object;
}

static json_t *to_json(const hone_checkpoint *ckpt, const struct summary *s)
{
    json_t *root = hone_cli_json_object();
    hone_cli_json_put(root, "path", hone_cli_json_text(hone_checkpoint_path(ckpt)));
    hone_cli_json_put(root, "format", hone_cli_json_text(hone_checkpoint_format(ckpt)));
    const char *architecture = hone_checkpoint_architecture(ckpt);
    hone_cli_json_put(root, "architecture", architecture ? hone_cli_json_text(architecture) : json_null());
    json_t *files = hone_cli_json_array();
    for (size_t i = 0; i < hone_checkpoint_n_files(ckpt); i++)
        hone_cli_json_add(files, hone_cli_json_text(hone_checkpoint_file(ckpt, i)));
    hone_cli_json_put(root, "files", files);
    hone_cli_json_put(root, "parameters", hone_cli_json_uint(s->nelems));
    hone_cli_json_put(root, "bytes", hone_cli_json_uint(hone_checkpoint_nbytes(ckpt)));
    hone_cli_json_put(root, "bpw", hone_cli_json_real(s->bpw));
    hone_cli_json_put(root, "checksums", hone_cli_json_bool(s->checksums));
    json_t *types = hone_cli_json_object();
    for (int d = 0; d < HONE_N_DTYPES; d++)
        if (s->tensors_of[d])
            hone_cli_json_put(types, hone_dtype_describe((hone_dtype)d)->name, hone_cli_json_uint(s->tensors_of[d]));
    hone_cli_json_put(root, "types", types);
    hone_cli_json_put(root, "tensors", tensors_json(ckpt));
    hone_cli_json_put(root, "metadata", metadata_json(ckpt));
    return root;
}

int hone_cmd_inspect(int argc, char **argv)
{
    bool tensors = false, metadata = false;
    const hone_cli_option options[] = {
        {0, "tensors", NULL, "list the tensors: type, shape (outermost axis first), bytes, offset", HONE_CLI_FLAG,
         &tensors},
        {0, "metadata", NULL, "list the metadata", HONE_CLI_FLAG, &metadata},
    };
    const hone_cli_spec spec = {
        .command = "inspect",
        .synopsis = "SRC [--tensors] [--metadata]",
        .about = "Prints what a source holds. SRC is a Hugging Face directory, a .safetensors or a .gguf file.\n"
                 "Only headers are read. --json gives everything, whatever the other options.\n",
        .options = options,
        .n_options = sizeof options / sizeof options[0],
        .positionals = {"SRC"},
        .min_positionals = 1,
    };
    hone_cli_globals globals = {0};
    const char *src;
    int code;
    if (!hone_cli_parse(&spec, argc, argv, &globals, &src, &code))
        return code;

    hone_cli_session session;
    hone_checkpoint *ckpt = NULL;
    hone_error err = HONE_CLI_NO_ERROR;
    hone_status status = hone_cli_session_open(&session, &globals, &err);
    if (status == HONE_OK)
        status = hone_cli_json_check_target(&globals, &err);
    if (status == HONE_OK)
        status = hone_cli_open(&session, src, &ckpt, &err);
    if (status == HONE_OK) {
        const struct summary s = summarize(ckpt);
        if (hone_cli_wants_text(&globals)) {
            print_summary(ckpt, &s);
            if (tensors)
                print_tensors(ckpt);
            if (metadata)
                print_metadata(ckpt);
        }
        if (globals.json)
            status = hone_cli_json_write(&globals, to_json(ckpt, &s), &err);
    }
    hone_checkpoint_close(ckpt);
    hone_cli_session_close(&session);
    return hone_cli_fail(status, &err);
}
