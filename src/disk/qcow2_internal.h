/*
 * disk/qcow2_internal.h: the qcow2 format between its own files: structs, and what always holds.  ("qcow2" in QEMU's interop documents)
 *
 *   guest offset ── L1 table (all in memory) ──> L2 table (cached) ──> cluster of the file
 *   cluster number ── refcount table (all in memory) ──> refcount block (cached) ──> how many refer to it
 *
 * Vocabulary: a *unit* is what one state bit of a mapping covers: a cluster, or with extended L2 entries one of its 32 subclusters.
 * COPIED, in a table's entry: nobody else refers to what it points to, so it may be written in place.
 *
 * Invariants.  "On disk" means after the last sync of the file.
 *   (1) What an entry on disk points to has a refcount on disk of at least the number of such entries.  More is a leak; never less.
 *   (2) So metadata reaches the file in this order, each step synced before the next: refcount blocks; refcount table; L2
 *       tables; L1 table; and only then are clusters that nothing points to any more counted down (qcow2_sync.c).
 *       While the header says DIRTY, (1) does not hold, and whoever opens the image for writing counts anew: the first two steps
 *       wait for the end then (lazy refcounts), and snapshots come and go.
 *   (3) A cluster that was freed is used again only after (2), and after reads and writes of it that are under way are done.
 *   (4) An entry of a table is believed only after its offset was checked (qcow2_map.c, qcow2_ref.c).
 *   (5) A unit's entry changes before its data is there only where both read alike: zeroes in a cluster that the file has just
 *       grown by.  Else the data is written first, the range is on `allocs`, and whoever else wants it waits.
 *
 * Locks: `lock` guards all but what is said to be immutable.  Under it there is no io but of refcount blocks and of growing tables.
 * `round` is held by whoever writes metadata back, and is taken before `lock`.
 */
#pragma once

#include "disk/format.h"
#include "disk/qcow2.h"

#include <pthread.h>

enum {
    Q2_VERSION_2 = 2,
    Q2_VERSION_3 = 3,
    Q2_HEADER_2 = 72,
    Q2_HEADER_3 = 104,
    Q2_CLUSTER_BITS_MIN = 9,
    Q2_CLUSTER_BITS_MAX = 21,
    Q2_EXT_BITS_MIN = 14,
    Q2_SUBS = 32,
    Q2_SNAPSHOTS_MAX = 65536,
    Q2_PENDING_MAX = 4096,
};
#define Q2_MAGIC        0x514649fbu
#define Q2_L1_BYTES_MAX (32 * MiB)
#define Q2_RT_BYTES_MAX (8 * MiB)
#define Q2_L2_BUDGET    (64 * MiB) /* 512 GiB of disk, with clusters of 64 KiB */
#define Q2_BLOCK_BUDGET (16 * MiB)
#define Q2_SLOTS_MAX    65536u
#define Q2_SLOTS_MIN    16u
#define Q2_HEAD_MAX     (64 * KiB) /* of the first cluster: header, extensions, backing name */

/* "Header" */
struct q2_disk_header {
    be32 magic, version;
    be64 backing_at;
    be32 backing_len;
    be32 cluster_bits;
    be64 size;
    be32 crypt;
    be32 l1_size;
    be64 l1_at;
    be64 rt_at;
    be32 rt_clusters;
    be32 n_snapshots;
    be64 snapshots_at;
    be64 incompatible, compatible, autoclear; /* version 3 from here on */
    be32 refcount_order;
    be32 header_len;
    u8 compression;
    u8 pad[7];
} __attribute__((packed));

#define Q2_I_DIRTY       (1ull << 0)
#define Q2_I_CORRUPT     (1ull << 1)
#define Q2_I_DATA_FILE   (1ull << 2)
#define Q2_I_COMPRESSION (1ull << 3)
#define Q2_I_EXT_L2      (1ull << 4)
#define Q2_I_KNOWN       0x1full
#define Q2_C_LAZY        (1ull << 0)
#define Q2_A_BITMAPS     (1ull << 0)
#define Q2_A_RAW_DATA    (1ull << 1)

/* "Cluster mapping" */
#define Q2_COPIED     (1ull << 63)
#define Q2_COMPRESSED (1ull << 62)
#define Q2_ZERO       (1ull << 0)
#define Q2_OFFSET     0x00fffffffffffe00ull
#define Q2_HOST_END   (1ull << 56)

/* The header as numbers of ours.  Names are owned, NULL when there is none. */
struct q2_header {
    u32 version, cluster_bits, refcount_order, header_len;
    u32 l1_size, rt_clusters, n_snapshots;
    u8 compression; /* enum qcow2_compression */
    u64 size, l1_at, rt_at, snapshots_at;
    u64 incompatible, compatible, autoclear;
    char *backing, *backing_format, *data_file;
    bool has_bitmaps; /* the extension */
    u64 bitmaps_at, bitmaps_len;
    u32 n_bitmaps;
};

/* One L2 table in memory. */
enum q2_table_state { Q2_TABLE_FREE, Q2_TABLE_LOADING, Q2_TABLE_READY };
struct q2_table {
    enum q2_table_state state;
    u32 l1; /* its entry in the L1 table */
    bool hot;
    u32 pins;  /* may not be dropped while not 0 */
    u64 dirty; /* slices that differ from the file */
    be64 *e;   /* a cluster */
    struct disk_req load;
    struct iovec iov;
    struct q2_queue *loader;
};

struct q2_tables {
    struct q2_table *slots;
    struct q2_table **by_l1; /* h.l1_size of them */
    u8 *mem;
    u32 n, hand, n_dirty;
    u32 slice_bits; /* of bytes: what one bit of `dirty` stands for */
};

/* One refcount block in memory. */
struct q2_block {
    bool used, hot, dirty;
    u32 from, to; /* dirty: bytes of whole sectors that differ from the file */
    u32 writing;  /* a copy of it is on its way to the file */
    u32 index;    /* its entry in the refcount table */
    u8 *data;
};

struct q2_refs {
    u64 *table; /* offsets of blocks; 0: none */
    u32 n;      /* entries */
    u32 order;
    u32 block_bits;  /* log2 of the counts in a block */
    u8 *table_dirty; /* one byte a sector of the table */
    bool table_any_dirty;
    struct q2_block *slots;
    struct q2_block **by_index; /* n of them */
    u8 *mem;
    u32 n_slots, hand, n_dirty;
    u64 hint; /* no free cluster is before this one */
};

/* Clusters that lost a reference in memory, and keep it in the counts until that is on disk. */
struct q2_pending {
    u64 first, n;
};

struct q2_queue;
struct q2_req;

struct q2_wait_list {
    struct q2_req *first, *last;
};

struct qcow2 {
    struct disk disk;
    struct disk *file; /* a store */
    struct disk *
        data; /* where guest clusters are: `file`, or a data file of their own; NULL: it was not to be opened */
    struct q2_header h;
    u8 *head; /* Q2_HEAD_MAX bytes or a cluster, if that is less: as they are on disk */
    u32 head_len;

    /* immutable */
    u32 bits;        /* log2 of the cluster */
    u64 cluster;     /* bytes */
    u32 l2_bits;     /* log2 of the entries of an L2 table */
    u32 entry_words; /* u64 of an entry: 1, or 2 when extended */
    u32 unit_bits;
    u64 unit;
    bool ext;
    bool data_apart, data_raw; /* in a data file; which is an image itself */
    bool lazy;                 /* refcounts are not kept right on disk: DIRTY says so */

    pthread_mutex_t lock, round;
    pthread_cond_t cond; /* some queue has something to run, or a table is there */
    u64 *l1;
    u8 *l1_dirty; /* one byte a sector */
    bool l1_any_dirty;
    struct q2_tables l2;
    struct q2_refs refs;
    u64 alloc_end;  /* clusters from this byte on were never used */
    u64 fresh_from; /* and from this on read as zeroes */
    u64 file_len;   /* the file is that long */
    struct q2_pending pending[Q2_PENDING_MAX];
    u32 n_pending, n_sealed; /* a round looks at the first n_sealed */
    bool ready;              /* opened: closing writes back */
    bool broken;             /* a header could not be written: no more metadata is */
    bool damaged; /* metadata was met that cannot be: nothing more is written for guests */
    u64 zip_gen;  /* counts compressed clusters that were written */
    u64 zip_at;   /* where the next compressed cluster goes; 0: into a new cluster */
    u8 zip_tail[DISK_SECTOR]; /* of the sector that zip_at is in; its users take turns */

    struct q2_queue
        *queues; /* linked; changed by the one thread that opens and closes them, under `lock` */
    struct q2_wait_list waits; /* parked requests */
    struct q2_req *allocs;     /* linked: ranges that are being allocated */
    struct q2_req *flights;    /* linked: clusters that are being read or written */
    atomic_uint n_active;      /* requests taken and not finished */
    atomic_bool flush_below;   /* a flush is one of the backing file, too: disk/overlay.h */

    /* the thread that writes metadata back */
    struct loop flusher;     /* unless a queue brought a helper */
    struct loop *flusher_on; /* NULL: there is none yet */
    struct loop_fd flush_watch;
    int flush_event; /* eventfd: `round_wanted` */
    bool round_wanted;
    bool round_busy;
    u64 rounds_begun, rounds_ended;
    int round_result; /* of the last that ended */
    u8 *round_buf; /* Q2_ROUND_BUF bytes for tables, and a cluster for a block; guarded by `round` */
    struct q2_round_parts *round_parts;
    struct q2_pending freeing[Q2_PENDING_MAX];
};

static inline struct qcow2 *q2_of(const struct disk *d)
{
    return container_of(d, struct qcow2, disk);
}

/* ---- qcow2_header.c ---- */

/* Reads and checks a header of `len` bytes out of a file of file_size.  h is freed by q2_header_fini, also on failure. */
int q2_header_parse(const u8 *head, u32 len, u64 file_size, struct q2_header *h, struct err *e);
void q2_header_fini(struct q2_header *h);
/* Header, extensions and backing name as bytes of the first cluster.  -ENOSPC: they do not fit. */
int q2_header_build(const struct q2_header *h, u8 *head, u32 len, struct err *e);
/*
 * Changes over from header `was` to q->h, in the first sector; synced.  When that fails the old one is put back, also on disk; when
 * even that does, nobody knows which of the two counts, and q->broken is set.
 */
int q2_header_change(struct qcow2 *q, const struct q2_header *was);
/*
 * Sets or clears incompatible feature bits in the header; synced.  Version 2 has no features: DIRTY is an extension of ours there,
 * and of others nothing is done.  Under `lock`, unless nothing is under way.
 */
int q2_header_mark(struct qcow2 *q, u64 bits, bool on);
/* Writes all of the header anew; synced. */
int q2_header_rewrite(struct qcow2 *q, struct err *e);
static inline u32 q2_entries_bits(u32 cluster_bits, bool ext)
{
    return cluster_bits - (ext ? 4 : 3);
}

/* ---- qcow2_ref.c: all under `lock` ---- */

int q2_refs_init(struct qcow2 *q, struct err *e);
void q2_refs_fini(struct qcow2 *q);
int q2_ref_get(struct qcow2 *q, u64 cluster, u64 *ret);
/* Adds delta (1 or -1) to n counts.  -ERANGE: one of them cannot be counted in the image's width, or would be below 0. */
int q2_ref_add(struct qcow2 *q, u64 first, u64 n, int delta);
/* Sets a count that is higher; for repair. */
int q2_ref_lower(struct qcow2 *q, u64 cluster, u64 v);
/*
 * Up to `want` clusters in a row, counted once each from now on; `exact`: that many.  Returns how many, the first in *ret.
 * *ret_fresh: they were past the end of the file, and read as zeroes.  -ENOSPC: a device is full; -EFBIG: the format cannot say
 * so far an offset.
 */
s64 q2_alloc(struct qcow2 *q, u64 want, bool exact, u64 *ret, bool *ret_fresh);
/* They lose one reference each when that is safe.  False: no room to note it; a round makes some. */
bool q2_free_later(struct qcow2 *q, u64 first, u64 n);
/* Nothing on disk ever pointed to them. */
void q2_free_now(struct qcow2 *q, u64 first, u64 n);
/* A block's count at `i`, and the reverse; by refcount order. */
u64 q2_count_get(const u8 *block, u32 order, u64 i);
void q2_count_set(u8 *block, u32 order, u64 i, u64 v);
/* Writes bytes [from, to) of block `b` to where it belongs, out of `data`, a copy of it or itself. */
int q2_block_store(struct qcow2 *q, const struct q2_block *b, const u8 *data, u32 from, u32 to);
void q2_block_touch(struct qcow2 *q, struct q2_block *b, u32 from, u32 to);
void q2_block_clean(struct qcow2 *q, struct q2_block *b);
/* Makes the file at least so long. */
int q2_grow_file(struct qcow2 *q, u64 end);
/* Metadata that cannot be was met: marks the image, so that nobody writes to it before it is checked. */
void q2_damage(struct qcow2 *q);
/* Does the range lie where the header, the L1 or the refcount table is? */
bool q2_is_meta(const struct qcow2 *q, u64 at, u64 len);

/* ---- qcow2_cache.c: all under `lock` ---- */

int q2_tables_init(struct qcow2 *q, struct err *e);
void q2_tables_fini(struct qcow2 *q);
/*
 * The L2 table behind L1 entry l1.  1: *ret is it; 0: there is none.  -EAGAIN: it is on its way, q2_wait(*key) for it.  With qq
 * NULL it is read on this thread.  `change`: it will be modified, so it is made, or copied when others refer to it.
 */
int q2_table_get(struct qcow2 *q, struct q2_queue *qq, u32 l1, bool change, struct q2_table **ret,
                 const void **key);
/* Entry i was changed. */
void q2_table_touch(struct qcow2 *q, struct q2_table *t, u32 i);
/* Forgets all that is clean, with nothing under way. */
void q2_tables_drop(struct qcow2 *q);
/* Host offset of the table behind an L1 entry; -EBADMSG: it cannot be one. */
int q2_l1_host(const struct qcow2 *q, u64 entry, u64 *ret);
void q2_l1_set(struct qcow2 *q, u32 l1, u64 entry);

/* ---- qcow2_map.c: all under `lock` ---- */

enum q2_kind { Q2_KIND_ABSENT, Q2_KIND_ZERO, Q2_KIND_DATA, Q2_KIND_ZIP };
struct q2_extent {
    enum q2_kind kind;
    bool copied; /* the cluster at `host` is ours alone */
    bool has_host;
    u64 len;  /* bytes */
    u64 host; /* has_host: of the offset asked for, in q->data.  ZIP: the cluster's descriptor */
};
/* What table t (NULL: none) says of `offset`, at most len bytes and not beyond the table.  -EBADMSG. */
int q2_extent_get(const struct qcow2 *q, const struct q2_table *t, u64 offset, u64 len,
                  struct q2_extent *ret);
int q2_map(struct disk *d, u64 offset, u64 len, struct disk_extent *ret, struct err *e);
static inline u32 q2_l1_index(const struct qcow2 *q, u64 offset)
{
    return (u32)(offset >> (q->bits + q->l2_bits));
}
static inline u32 q2_l2_index(const struct qcow2 *q, u64 offset)
{
    return (u32)(offset >> q->bits) & ((1u << q->l2_bits) - 1);
}
/* Entry i, and its subcluster bits (0 when not extended). */
static inline u64 q2_entry(const struct qcow2 *q, const struct q2_table *t, u32 i)
{
    return be64_get(t->e[(size_t)i * q->entry_words]);
}
static inline u64 q2_entry_subs(const struct qcow2 *q, const struct q2_table *t, u32 i)
{
    return q->ext ? be64_get(t->e[(size_t)i * 2 + 1]) : 0;
}
void q2_entry_set(struct qcow2 *q, struct q2_table *t, u32 i, u64 entry, u64 subs);
/* Clusters of the file that an entry's data is in: how many, the first in *ret; 0: none.  -EBADMSG. */
s64 q2_entry_clusters(const struct qcow2 *q, u64 entry, u64 *ret);

/* ---- qcow2_sync.c ---- */

#define Q2_ROUND_BUF (8 * MiB)
int q2_round_init(struct qcow2 *q, struct err *e);
void q2_round_fini(struct qcow2 *q);
/* Is there metadata that a flush must put on disk?  Under `lock`. */
bool q2_is_dirty(const struct qcow2 *q);
/* Writes back what is dirty and counts down what is free, on this thread.  Not under `lock`. */
int q2_round(struct qcow2 *q);
/* Until nothing is left to do, lazy refcounts too. */
int q2_sync_all(struct qcow2 *q);
/* q2_sync_all, and the file as one that is closed: not marked, not longer than it has to be. */
int q2_settle(struct qcow2 *q);
/* Has the thread do a round that begins after now; under `lock`.  The number by which q2_round_over asks. */
u64 q2_round_begin(struct qcow2 *q);
int q2_flusher_start(struct qcow2 *q, const struct disk_queue_cfg *cfg, struct err *e);
void q2_flusher_stop(struct qcow2 *q);

/* ---- qcow2_zip.c ---- */

/* Where a compressed cluster's bytes are. */
void q2_zip_range(const struct qcow2 *q, u64 descriptor, u64 *at, u64 *len);
/* One whole cluster out of src.  -EBADMSG. */
int q2_unzip(const struct qcow2 *q, const u8 *src, u64 len, u8 *dst);

/* ---- qcow2_io.c ---- */

int q2_queue_open(struct disk *d, const struct disk_queue_cfg *cfg, struct disk_queue **ret,
                  struct err *e);
void q2_queue_close(struct disk_queue *q);
void q2_submit(struct disk_queue *q, struct disk_req *r);
void q2_kick(struct disk_queue *q);
void q2_wait(struct disk_queue *q);
/* Lets those run that wait for `key`, or fail with a negative result; under `lock`. */
void q2_wake(struct qcow2 *q, const void *key, int result);
/* Reads table t on this queue. */
void q2_load(struct q2_queue *qq, struct q2_table *t, u64 host);

/* ---- qcow2_open.c ---- */

extern const struct disk_ops q2_ops;
/* Fails unless nothing is under way, so that the tables are the caller's.  `what` is for the message. */
int q2_claim(struct qcow2 *q, const char *what, struct err *e);

/* ---- qcow2_snap.c ---- */

struct q2_snap {
    char *id, *name;
    u8 *extra;
    u32 extra_len;
    u64 l1_at;
    u32 l1_size, sec, nsec;
    u64 size, vm_state, vm_clock;
};
struct q2_snaps {
    struct q2_snap *list;
    u32 n;
    u64 bytes; /* of the table in the file */
};
int q2_snaps_load(struct qcow2 *q, struct q2_snaps *s, struct err *e);
void q2_snaps_free(struct q2_snaps *s);
/* Before the tables are read: those of a snapshot, and its size, instead of the disk's. */
int q2_snap_select(struct qcow2 *q, const char *name, struct err *e);
/* Makes COPIED of all active entries say what the counts say; synced.  Not under `lock`, nothing under way. */
int q2_flags_fix(struct qcow2 *q);

/* ---- qcow2_resize.c ---- */

/*
 * Writes n_l1 entries as an active L1 table of n entries, at a new place, and changes the header over to it and to
 * `size`.  Nothing under way, all synced.
 */
int q2_l1_replace(struct qcow2 *q, const u64 *entries, u32 n_l1, u32 n, u64 size);
int q2_resize(struct qcow2 *q, u64 size, struct err *e);

/* ---- qcow2_check.c ---- */
int q2_check(struct qcow2 *q, u32 repair, struct qcow2_report *rep, struct err *e);
