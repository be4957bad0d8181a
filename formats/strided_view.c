/* SPDX-License-Identifier: MIT */
/*
 * Reading a range of a tensor's rows from elements that lie by strides.
 *
 * The range, counted in row-major elements, is cut into boxes: index ranges along every axis. A box is read in the
 * order of its source: axes sorted by stride, the smallest innermost, so that the file is read forwards through a
 * window, and elements are scattered to their places. A transposed matrix thus costs one read per column and chunk of
 * rows, or, when columns lie close together, a few reads that cover everything.
 */
#include "formats/strided_view.h"

#include <string.h>

#include <utf8proc.h>

#include "base/arith.h"
#include "base/fail.h"
#include "base/mem.h"

/* MAX_GAP: a page. Skipping less than that saves no input, reading more of it costs more than another call. */
enum { WINDOW_NBYTES = 256 << 10, MAX_GAP_NBYTES = 4096, MIN_DIRECT_NBYTES = 4096 };
static const uint64_t MAX_REPEATED_NBYTES = 1ull << 30;

struct strided_view {
    hone_view view; /* first */
    bool in_scratch;
    uint32_t elem_nbytes;
    uint32_t swap_nbytes; /* of what is byte-swapped, an element or half a complex one; 0: nothing */
    uint64_t at;          /* of the first element, in its file */
    uint64_t nelems;
    unsigned n_dims; /* neighbouring axes that lie like one are one here */
    uint64_t shape[HONE_MAX_DIMS], strides[HONE_MAX_DIMS];
};

struct axis {
    uint64_t n, src, dst; /* count; strides in elements */
};

/* One read of the view. */
struct gathering {
    const struct strided_view *view;
    const hone_file *file;
    uint8_t *dst;
    uint8_t *window;
    uint64_t window_at, window_end; /* elements of the source */
    hone_error *err;
};

static const hone_file *source_file(const hone_checkpoint *ckpt, unsigned file, bool in_scratch)
{
    return in_scratch ? &ckpt->scratch : &ckpt->files[file];
}

hone_status hone_payload_read(const hone_checkpoint *ckpt, unsigned file, const hone_payload *payload, uint64_t offset,
                              void *dst, size_t nbytes, hone_error *err)
{
    if (offset > payload->nbytes || nbytes > payload->nbytes - offset)
        return hone_fail(err, HONE_ERROR_DATA, payload->offset, NULL, "ends early");
    return hone_file_read(source_file(ckpt, file, payload->in_scratch), payload->offset + offset, dst, nbytes, err);
}

static void swap_elements(uint8_t *p, size_t n, uint32_t elem_nbytes)
{
    for (size_t i = 0; i < n; i++, p += elem_nbytes)
        for (uint32_t a = 0, b = elem_nbytes - 1; a < b; a++, b--) {
            const uint8_t byte = p[a];
            p[a] = p[b];
            p[b] = byte;
        }
}

static inline void copy_sized(uint8_t *dst, size_t dst_stride, const uint8_t *src, size_t src_stride, size_t n,
                              size_t size)
{
    for (size_t i = 0; i < n; i++)
        memcpy(dst + i * dst_stride * size, src + i * src_stride * size, size);
}

/* The size is a constant in each call, so that memcpy becomes a load and a store. */
static void copy_elements(uint8_t *dst, size_t dst_stride, const uint8_t *src, size_t src_stride, size_t n,
                          uint32_t elem_nbytes)
{
    switch (elem_nbytes) {
    case 1:
        copy_sized(dst, dst_stride, src, src_stride, n, 1);
        break;
    case 2:
        copy_sized(dst, dst_stride, src, src_stride, n, 2);
        break;
    case 4:
        copy_sized(dst, dst_stride, src, src_stride, n, 4);
        break;
    default:
        copy_sized(dst, dst_stride, src, src_stride, n, 8);
    }
}

static hone_status read_elements(struct gathering *g, uint64_t at, size_t n, uint8_t *dst)
{
    const uint32_t size = g->view->elem_nbytes;
    return hone_file_read(g->file, g->view->at + at * size, dst, n * size, g->err);
}

/* Fill the window from element at on, but not beyond end. */
static hone_status load_window(struct gathering *g, uint64_t at, uint64_t end)
{
    const uint64_t most = WINDOW_NBYTES / g->view->elem_nbytes, left = end - at;
    const size_t n = (size_t)(left < most ? left : most);
    if (!g->window) {
        g->window = hone_alloc(WINDOW_NBYTES, 1);
        if (!g->window)
            return hone_fail_nomem(g->err, WINDOW_NBYTES);
    }
    g->window_at = g->window_end = 0;
    HONE_TRY(read_elements(g, at, n, g->window));
    g->window_at = at;
    g->window_end = at + n;
    return HONE_OK;
}

/* The elements at, at + axis->src, ... to dst, dst + axis->dst, ...; what lies between at and end may be read along. */
static hone_status read_run(struct gathering *g, const struct axis *axis, uint64_t at, uint64_t end, uint8_t *dst)
{
    const uint32_t size = g->view->elem_nbytes;
    if (axis->src == 1 && axis->dst == 1 && axis->n * size >= MIN_DIRECT_NBYTES)
        return read_elements(g, at, (size_t)axis->n, dst);
    for (uint64_t i = 0; i < axis->n;) {
        const uint64_t from = at + i * axis->src;
        if (from < g->window_at || from >= g->window_end)
            HONE_TRY(load_window(g, from, end > from ? end : from + 1));
        const uint64_t within = axis->src == 0 ? axis->n : (g->window_end - 1 - from) / axis->src + 1;
        const uint64_t n = within < axis->n - i ? within : axis->n - i;
        copy_elements(dst + i * axis->dst * size, (size_t)axis->dst, g->window + (from - g->window_at) * size,
                      (size_t)axis->src, (size_t)n, size);
        i += n;
    }
    return HONE_OK;
}

/*
 * How many of the innermost axes lie so close together that a read may cover them; *extent gets the number of elements
 * from the first to the last of such a group.
 */
static unsigned find_dense_axes(const struct axis *axes, unsigned n_axes, uint32_t elem_nbytes, uint64_t *extent)
{
    *extent = 1;
    unsigned n = 0;
    for (; n < n_axes; n++) {
        const uint64_t gap = axes[n].src > *extent ? axes[n].src - *extent : 0;
        if (gap > MAX_GAP_NBYTES / elem_nbytes)
            break;
        *extent += (axes[n].n - 1) * axes[n].src;
    }
    return n;
}

/* Axes sorted by source stride. first_src, first_dst: elements. */
static hone_status read_sorted_box(struct gathering *g, const struct axis *axes, unsigned n_axes, uint64_t first_src,
                                   uint64_t first_dst)
{
    uint64_t extent, index[HONE_MAX_DIMS] = {0};
    const unsigned n_dense = find_dense_axes(axes, n_axes, g->view->elem_nbytes, &extent);
    for (;;) {
        uint64_t src = first_src, dst = first_dst, group = first_src;
        for (unsigned i = 1; i < n_axes; i++) {
            src += index[i] * axes[i].src;
            dst += index[i] * axes[i].dst;
            group += i >= n_dense ? index[i] * axes[i].src : 0;
        }
        HONE_TRY(read_run(g, &axes[0], src, n_dense > 0 ? group + extent : 0, g->dst + dst * g->view->elem_nbytes));
        unsigned i = 1;
        while (i < n_axes && ++index[i] == axes[i].n)
            index[i++] = 0;
        if (i >= n_axes)
            return HONE_OK;
    }
}

static hone_status read_box(struct gathering *g, struct axis *axes, unsigned n_axes, uint64_t first_src,
                            uint64_t first_dst)
{
    unsigned n = 0;
    for (unsigned i = 0; i < n_axes; i++) {
        if (axes[i].n == 1)
            continue;
        const struct axis axis = axes[i];
        unsigned at = n++;
        for (; at > 0 && axes[at - 1].src > axis.src; at--)
            axes[at] = axes[at - 1];
        axes[at] = axis;
    }
    if (n == 0) {
        axes[0] = (struct axis){.n = 1, .src = 1, .dst = 1};
        n = 1;
    }
    return read_sorted_box(g, axes, n, first_src, first_dst);
}

/*
 * The largest box that starts at row-major element e and ends by end: a range along one axis, everything along those
 * within it. Returns its number of elements.
 */
static uint64_t cut_box(const struct strided_view *v, uint64_t e, uint64_t end, struct axis *axes, unsigned *n_axes,
                        uint64_t *first_src)
{
    uint64_t inner = 1, rest = e;
    unsigned split = v->n_dims;
    *first_src = 0;
    *n_axes = 0;
    /* Axes are whole as long as e is at their start and a whole one is wanted. */
    while (split > 0 && rest % v->shape[split - 1] == 0 && end - e >= inner * v->shape[split - 1]) {
        split--;
        rest /= v->shape[split];
        axes[(*n_axes)++] = (struct axis){.n = v->shape[split], .src = v->strides[split], .dst = inner};
        inner *= v->shape[split];
    }
    if (split == 0)
        return inner;
    const uint64_t index = rest % v->shape[split - 1], wanted = (end - e) / inner, room = v->shape[split - 1] - index;
    const uint64_t n = wanted < room ? wanted : room;
    axes[(*n_axes)++] = (struct axis){.n = n, .src = v->strides[split - 1], .dst = inner};
    for (unsigned i = split; i-- > 0; rest /= v->shape[i])
        *first_src += rest % v->shape[i] * v->strides[i];
    return n * inner;
}

static hone_status gather(struct gathering *g, uint64_t begin, uint64_t end)
{
    for (uint64_t e = begin; e < end;) {
        struct axis axes[HONE_MAX_DIMS];
        unsigned n_axes;
        uint64_t first_src;
        const uint64_t n = cut_box(g->view, e, end, axes, &n_axes, &first_src);
        HONE_TRY(read_box(g, axes, n_axes, first_src, e - begin));
        e += n;
    }
    return HONE_OK;
}

static hone_status read_whole(struct gathering *g, uint64_t begin, uint64_t n, uint8_t *dst)
{
    g->dst = dst;
    HONE_TRY(gather(g, begin, begin + n));
    const uint32_t unit = g->view->swap_nbytes;
    if (unit > 0)
        swap_elements(dst, (size_t)n * (g->view->elem_nbytes / unit), unit);
    return HONE_OK;
}

/* Bytes skip to skip + n of one element. */
static hone_status read_part(struct gathering *g, uint64_t element, size_t skip, size_t n, uint8_t *dst)
{
    uint8_t whole[8];
    HONE_TRY(read_whole(g, element, 1, whole));
    memcpy(dst, whole + skip, n);
    return HONE_OK;
}

static hone_status read_range(struct gathering *g, uint64_t offset, size_t nbytes, uint8_t *dst)
{
    const uint32_t size = g->view->elem_nbytes;
    const size_t skip = offset % size;
    uint64_t element = offset / size;
    if (skip > 0 && nbytes > 0) {
        const size_t n = size - skip < nbytes ? size - skip : nbytes;
        HONE_TRY(read_part(g, element++, skip, n, dst));
        dst += n;
        nbytes -= n;
    }
    const size_t rest = nbytes % size;
    if (nbytes >= size)
        HONE_TRY(read_whole(g, element, nbytes / size, dst));
    return rest > 0 ? read_part(g, element + nbytes / size, 0, rest, dst + nbytes - rest) : HONE_OK;
}

static hone_status read_view(const hone_checkpoint *ckpt, const hone_tensor *tensor, uint64_t offset, size_t nbytes,
                             void *dst, hone_error *err)
{
    /* The view is the first member of what add_view() allocated. */
    const struct strided_view *v = (const void *)tensor->view;
    const uint64_t all = v->nelems * v->elem_nbytes;
    if (offset > all || nbytes > all - offset)
        return hone_fail(err, HONE_ERROR_ARG, offset, tensor->name, "no tensor of this checkpoint");
    struct gathering g = {.view = v, .file = source_file(ckpt, tensor->file, v->in_scratch), .err = err};
    const hone_status status = read_range(&g, offset, nbytes, dst);
    hone_release(g.window);
    return status;
}

/* --- adding --- */

void hone_strides_of_rows(const hone_tensor *tensor, uint64_t *strides)
{
    uint64_t stride = 1;
    for (unsigned i = tensor->n_dims; i-- > 0;) {
        strides[i] = stride;
        stride *= tensor->shape[i];
    }
}

/* Whether every element lies within the payload. The tensor is not empty. */
static bool fits(const hone_tensor *tensor, const hone_layout *layout, uint32_t elem_nbytes)
{
    uint64_t last = 0, reach, nbytes;
    for (unsigned i = 0; i < tensor->n_dims; i++)
        if (!hone_mul_u64(tensor->shape[i] - 1, layout->strides[i], &reach) || !hone_add_u64(last, reach, &last))
            return false;
    return hone_add_u64(last, 1, &last) && hone_mul_u64(last, elem_nbytes, &nbytes) &&
           layout->first_nbytes <= layout->payload.nbytes && nbytes <= layout->payload.nbytes - layout->first_nbytes;
}

/* Leave out axes of one element and merge those that lie like one. */
static void simplify(struct strided_view *v, const hone_tensor *tensor, const uint64_t *strides)
{
    for (unsigned i = 0; i < tensor->n_dims; i++) {
        const uint64_t n = tensor->shape[i];
        const unsigned last = v->n_dims - 1;
        if (n == 1)
            continue;
        if (v->n_dims > 0 && v->strides[last] == strides[i] * n) {
            v->shape[last] *= n;
            v->strides[last] = strides[i];
        } else {
            v->shape[v->n_dims] = n;
            v->strides[v->n_dims++] = strides[i];
        }
    }
}

static bool is_utf8(const char *text)
{
    const utf8proc_uint8_t *p = (const utf8proc_uint8_t *)text;
    while (*p) {
        utf8proc_int32_t code;
        const utf8proc_ssize_t n = utf8proc_iterate(p, -1, &code);
        if (n <= 0)
            return false;
        p += n;
    }
    return true;
}

static hone_status add_view(hone_checkpoint *ckpt, hone_tensor *tensor, const hone_layout *layout, uint64_t at,
                            hone_error *err)
{
    const uint32_t elem_nbytes = hone_dtype_describe(tensor->dtype)->block_nbytes;
    struct strided_view v = {
        .view.read = read_view,
        .in_scratch = layout->payload.in_scratch,
        .swap_nbytes = layout->swap_bytes && elem_nbytes > 1 ? elem_nbytes >> (tensor->dtype == HONE_C64) : 0,
        .elem_nbytes = elem_nbytes,
        .at = layout->payload.offset + layout->first_nbytes,
        .nelems = tensor->nelems,
    };
    simplify(&v, tensor, layout->strides);
    v.view.gathered = v.n_dims > 1 && v.strides[v.n_dims - 1] > 1;
    const bool is_plain =
        !v.in_scratch && v.swap_nbytes == 0 && (v.n_dims == 0 || (v.n_dims == 1 && v.strides[0] == 1));
    tensor->offset = v.in_scratch ? at : v.at;
    if (!is_plain) {
        struct strided_view *copy = hone_arena_alloc(&ckpt->arena, 1, sizeof *copy);
        if (!copy)
            return hone_fail_nomem(err, sizeof *copy);
        *copy = v;
        tensor->view = &copy->view;
    }
    return hone_checkpoint_add_tensor(ckpt, tensor, at, err);
}

hone_status hone_checkpoint_add_strided(hone_checkpoint *ckpt, const hone_tensor *like, const hone_layout *layout,
                                        uint64_t at, hone_error *err)
{
    hone_tensor tensor = {.name = like->name, .dtype = like->dtype, .n_dims = like->n_dims, .file = like->file};
    memcpy(tensor.shape, like->shape, sizeof tensor.shape);
    const uint32_t elem_nbytes = hone_dtype_describe(tensor.dtype)->block_nbytes;
    const char *wrong = hone_tensor_measure(&tensor);
    if (!wrong && (tensor.name[0] == '\0' || !is_utf8(tensor.name)))
        wrong = "a tensor whose name is empty or no UTF-8 text";
    if (wrong)
        return hone_fail(err, HONE_ERROR_DATA, at, tensor.name, "%s", wrong);
    if (tensor.nelems == 0)
        return hone_checkpoint_add_tensor(ckpt, &tensor, at, err);
    if (!fits(&tensor, layout, elem_nbytes))
        return hone_fail(err, HONE_ERROR_DATA, at, tensor.name, "elements outside its data of %llu bytes",
                         (unsigned long long)layout->payload.nbytes);
    if (tensor.nbytes > layout->payload.nbytes && tensor.nbytes > MAX_REPEATED_NBYTES)
        return hone_fail(err, HONE_ERROR_LIMIT, at, tensor.name, "%llu bytes of repeated elements",
                         (unsigned long long)tensor.nbytes);
    return add_view(ckpt, &tensor, layout, at, err);
}
