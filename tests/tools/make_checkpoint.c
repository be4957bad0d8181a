/* SPDX-License-Identifier: MIT */
/*
 * usage: make_checkpoint DIR SHARDS LAYERS HIDDEN FF VOCAB f16|bf16 SEED
 *
 * Writes a LLaMA checkpoint in Hugging Face layout, without a tokenizer, into the directory DIR: config.json, the
 * shards and their index. SEED 0 leaves the weights as holes, which read as zeros and take no disk; any other seed
 * fills them with random numbers of the size weights have.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_TENSORS = 9 * 1000 + 3, HEAD_DIM = 64, BUFFER_NBYTES = 1 << 20 };

struct tensor {
    char name[80];
    uint64_t rows, cols; /* cols 0: a vector */
    unsigned shard;
};

static struct tensor tensors[MAX_TENSORS];
static size_t n_tensors;
static uint64_t random_state;

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void add(uint64_t rows, uint64_t cols, const char *format, ...)
{
    struct tensor *t = &tensors[n_tensors++];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(t->name, sizeof t->name, format, args);
    va_end(args);
    t->rows = rows;
    t->cols = cols;
}

static uint64_t nbytes_of(const struct tensor *t)
{
    return 2 * t->rows * (t->cols ? t->cols : 1);
}

static void add_layer(unsigned i, uint64_t hidden, uint64_t ff)
{
    const uint64_t kv = hidden / 4;
    add(hidden, 0, "model.layers.%u.input_layernorm.weight", i);
    add(hidden, hidden, "model.layers.%u.self_attn.q_proj.weight", i);
    add(kv, hidden, "model.layers.%u.self_attn.k_proj.weight", i);
    add(kv, hidden, "model.layers.%u.self_attn.v_proj.weight", i);
    add(hidden, hidden, "model.layers.%u.self_attn.o_proj.weight", i);
    add(hidden, 0, "model.layers.%u.post_attention_layernorm.weight", i);
    add(ff, hidden, "model.layers.%u.mlp.gate_proj.weight", i);
    add(ff, hidden, "model.layers.%u.mlp.up_proj.weight", i);
    add(hidden, ff, "model.layers.%u.mlp.down_proj.weight", i);
}

/* splitmix64 */
static uint64_t next_random(void)
{
    uint64_t z = random_state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* Sign and mantissa at random, the exponent one of four that end at 2^-6: the same pattern fits both types. */
static void fill(uint16_t *values, size_t n, int is_f16)
{
    for (size_t i = 0; i < n; i += 4) {
        const uint64_t r = next_random();
        for (size_t k = 0; k < 4 && i + k < n; k++) {
            const unsigned bits = (unsigned)(r >> 16 * k) & 0xffff, exponent = bits >> 8 & 3;
            values[i + k] =
                (uint16_t)(is_f16 ? (bits & 0x83ff) | (6 + exponent) << 10 : (bits & 0x807f) | (118 + exponent) << 7);
        }
    }
}

static void put(int fd, const void *src, size_t nbytes)
{
    const char *p = src;
    while (nbytes > 0) {
        const ssize_t n = write(fd, p, nbytes);
        if (n <= 0)
            die("write");
        p += n;
        nbytes -= (size_t)n;
    }
}

static void write_weights(int fd, uint64_t nbytes, int is_f16)
{
    static uint16_t buffer[BUFFER_NBYTES / 2];
    while (nbytes > 0) {
        const size_t n = nbytes < BUFFER_NBYTES ? (size_t)nbytes : BUFFER_NBYTES;
        fill(buffer, n / 2, is_f16);
        put(fd, buffer, n);
        nbytes -= n;
    }
}

static void write_shard(const char *path, unsigned shard, const char *dtype, int sparse)
{
    char *header = NULL;
    size_t len = 0;
    FILE *text = open_memstream(&header, &len);
    if (!text)
        die("memory");
    uint64_t at = 0;
    (void)fputc('{', text);
    for (size_t i = 0; i < n_tensors; i++) {
        const struct tensor *t = &tensors[i];
        if (t->shard != shard)
            continue;
        (void)fprintf(text, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[%" PRIu64, at ? "," : "", t->name, dtype, t->rows);
        if (t->cols)
            (void)fprintf(text, ",%" PRIu64, t->cols);
        (void)fprintf(text, "],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}", at, at + nbytes_of(t));
        at += nbytes_of(t);
    }
    (void)fputc('}', text);
    if (fclose(text) != 0)
        die("memory");
    const uint64_t header_nbytes = len;
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    if (fd < 0)
        die(path);
    put(fd, &header_nbytes, sizeof header_nbytes);
    put(fd, header, len);
    free(header);
    if (!sparse)
        write_weights(fd, at, strcmp(dtype, "F16") == 0);
    else if (ftruncate(fd, (off_t)(8 + header_nbytes + at)) != 0)
        die(path);
    if (close(fd) != 0)
        die(path);
}

static FILE *create(const char *dir, const char *name)
{
    char path[4096];
    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "w");
    if (!f)
        die(path);
    return f;
}

int main(int argc, char **argv)
{
    if (argc != 9) {
        (void)fprintf(stderr, "usage: make_checkpoint DIR SHARDS LAYERS HIDDEN FF VOCAB f16|bf16 SEED\n");
        return 2;
    }
    const char *dir = argv[1], *dtype = strcmp(argv[7], "f16") == 0 ? "F16" : "BF16";
    const unsigned n_shards = (unsigned)atoi(argv[2]), n_layers = (unsigned)atoi(argv[3]);
    const uint64_t hidden = (uint64_t)atoll(argv[4]), ff = (uint64_t)atoll(argv[5]), vocab = (uint64_t)atoll(argv[6]);
    random_state = (uint64_t)atoll(argv[8]);
    const int sparse = random_state == 0;
    if (n_shards == 0 || 9 * (size_t)n_layers + 3 > MAX_TENSORS || hidden % (4 * HEAD_DIM) != 0)
        return 2;
    add(vocab, hidden, "model.embed_tokens.weight");
    for (unsigned i = 0; i < n_layers; i++)
        add_layer(i, hidden, ff);
    add(hidden, 0, "model.norm.weight");
    add(vocab, hidden, "lm_head.weight");

    uint64_t total = 0, before = 0;
    for (size_t i = 0; i < n_tensors; i++)
        total += nbytes_of(&tensors[i]);
    FILE *index = create(dir, "model.safetensors.index.json");
    (void)fprintf(index, "{\"metadata\":{\"total_size\":%" PRIu64 "},\"weight_map\":{", total);
    for (size_t i = 0; i < n_tensors; i++) {
        tensors[i].shard = (unsigned)((double)before / (double)total * n_shards);
        before += nbytes_of(&tensors[i]);
        (void)fprintf(index, "%s\"%s\":\"model-%05u-of-%05u.safetensors\"", i ? "," : "", tensors[i].name,
                      tensors[i].shard + 1, n_shards);
    }
    (void)fputs("}}\n", index);
    FILE *config = create(dir, "config.json");
    (void)fprintf(config,
                  "{\"architectures\":[\"LlamaForCausalLM\"],\"model_type\":\"llama\",\"hidden_act\":\"silu\","
                  "\"hidden_size\":%" PRIu64 ",\"intermediate_size\":%" PRIu64 ",\"num_hidden_layers\":%u,"
                  "\"num_attention_heads\":%" PRIu64 ",\"num_key_value_heads\":%" PRIu64 ",\"vocab_size\":%" PRIu64 ","
                  "\"max_position_embeddings\":4096,\"rms_norm_eps\":1e-5,\"rope_theta\":10000.0,"
                  "\"tie_word_embeddings\":false}\n",
                  hidden, ff, n_layers, hidden / HEAD_DIM, hidden / HEAD_DIM / 4, vocab);
    if (fclose(index) != 0 || fclose(config) != 0)
        die(dir);
    for (unsigned shard = 0; shard < n_shards; shard++) {
        char path[4096];
        (void)snprintf(path, sizeof path, "%s/model-%05u-of-%05u.safetensors", dir, shard + 1, n_shards);
        write_shard(path, shard, dtype, sparse);
    }
    return 0;
}
