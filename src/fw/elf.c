/*
 * fw/elf.c: ELF executables as kernels.  (System V ABI, "Object Files"; PVH notes: Xen, docs/misc/pvh.pandoc)
 *   (1) Headers are copied before they are looked at, and each offset in them is checked where it is used (image_read).
 *   (2) Segments never overlap: a loader that leaves zeroes out could not say which one wins.
 */
#include "fw/elf.h"

#include <elf.h>

#define XEN_ELFNOTE_PHYS32_ENTRY 18

/* One program header, of either class. */
struct phdr {
    u32 type;
    struct image_part part;
};

struct shape {
    u16 machine, type, phentsize, phnum;
    u64 entry, phoff;
};

bool elf_is(const void *head, size_t len)
{
    return len >= SELFMAG && memcmp(head, ELFMAG, SELFMAG) == 0;
}

bool elf_is_64(const void *head, size_t len)
{
    return elf_is(head, len) && len > EI_CLASS && ((const u8 *)head)[EI_CLASS] == ELFCLASS64;
}

static int read_shape(const struct image *im, bool is_64, struct shape *ret, struct err *e)
{
    union {
        Elf32_Ehdr e32;
        Elf64_Ehdr e64;
    } h = {};
    int r = image_read(im, 0, &h, is_64 ? sizeof(h.e64) : sizeof(h.e32), "ELF header", e);

    if (r < 0)
        return r;
    if (is_64)
        *ret = (struct shape){ h.e64.e_machine, h.e64.e_type,  h.e64.e_phentsize,
                               h.e64.e_phnum,   h.e64.e_entry, h.e64.e_phoff };
    else
        *ret = (struct shape){ h.e32.e_machine, h.e32.e_type,  h.e32.e_phentsize,
                               h.e32.e_phnum,   h.e32.e_entry, h.e32.e_phoff };
    return 0;
}

static int check_shape(const struct shape *s, bool is_64, struct err *e)
{
    if (s->machine != EM_X86_64 && (is_64 || s->machine != EM_386))
        return err_set(e, -ENOEXEC, "is an ELF file for machine %u, not for x86", s->machine);
    if (s->type != ET_EXEC && s->type != ET_DYN)
        return err_set(e, -ENOEXEC, "is an ELF file of type %u, not an executable", s->type);
    if (s->phentsize != (is_64 ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr)))
        return err_set(e, -EBADMSG, "damaged: its program headers are %u bytes long", s->phentsize);
    if (s->phnum == 0 || s->phnum > ELF_PHDRS_MAX)
        return err_set(e, -EBADMSG, "has %u program headers: allowed are 1 to %u", s->phnum,
                       ELF_PHDRS_MAX);
    return 0;
}

static int read_phdr(const struct image *im, bool is_64, u64 at, struct phdr *ret, struct err *e)
{
    union {
        Elf32_Phdr p32;
        Elf64_Phdr p64;
    } p = {};
    int r = image_read(im, at, &p, is_64 ? sizeof(p.p64) : sizeof(p.p32), "program header", e);

    if (r < 0)
        return r;
    if (is_64)
        *ret = (struct phdr){ p.p64.p_type,
                              { p.p64.p_offset, p.p64.p_filesz, p.p64.p_paddr, p.p64.p_memsz,
                                "segment" } };
    else
        *ret = (struct phdr){ p.p32.p_type,
                              { p.p32.p_offset, p.p32.p_filesz, p.p32.p_paddr, p.p32.p_memsz,
                                "segment" } };
    return 0;
}

static int add_load(struct elf *elf, const struct image *im, const struct image_part *p,
                    struct err *e)
{
    u64 end;

    if (p->memsz == 0)
        return 0;
    if (p->filesz > p->memsz || !add_ok(&end, p->gpa, p->memsz))
        return err_set(e, -EBADMSG, "damaged: segment at 0x%llx has %llu bytes in %llu", p->gpa,
                       p->filesz, p->memsz);
    if (!range_ok(p->at, p->filesz, im->size))
        return err_set(
            e, -ENOEXEC,
            "truncated: its segment at 0x%llx needs %llu bytes at %llu, the file has %llu", p->gpa,
            p->filesz, p->at, im->size);
    for (const struct image_part *q = elf->segs; q < elf->segs + elf->n_segs; q++)
        if (p->gpa < q->gpa + q->memsz && q->gpa < end)
            return err_set(e, -EBADMSG, "damaged: its segments at 0x%llx and 0x%llx overlap",
                           q->gpa, p->gpa);
    if (elf->n_segs == ELF_SEGS_MAX)
        return err_set(e, -EBADMSG, "has more than %u segments", ELF_SEGS_MAX);
    elf->start = elf->n_segs ? min(elf->start, p->gpa) : p->gpa;
    elf->end = max(elf->end, end);
    elf->segs[elf->n_segs++] = *p;
    return 0;
}

/* The description of the note at `at`: offset into `notes`, *ret_next the following note.  False: no note there. */
static bool note_at(const u8 *notes, size_t len, size_t at, Elf64_Nhdr *ret, size_t *ret_next)
{
    size_t left = len - at, name, desc;

    if (left < sizeof(*ret))
        return false;
    memcpy(ret, notes + at, sizeof(*ret));
    left -= sizeof(*ret);
    name = align_up((size_t)ret->n_namesz, 4);
    desc = align_up((size_t)ret->n_descsz, 4);
    if (name > left || desc > left - name)
        return false;
    *ret_next = at + sizeof(*ret) + name + desc;
    return true;
}

static u64 find_pvh(const u8 *notes, size_t len)
{
    Elf64_Nhdr n;
    size_t next;

    for (size_t at = 0; note_at(notes, len, at, &n, &next); at = next) {
        const u8 *name = notes + at + sizeof(n), *desc = name + align_up((size_t)n.n_namesz, 4);

        if (n.n_type == XEN_ELFNOTE_PHYS32_ENTRY && n.n_namesz == 4 &&
            memcmp(name, "Xen", 4) == 0 && (n.n_descsz == 4 || n.n_descsz == 8))
            return le_load(desc, n.n_descsz);
    }
    return 0;
}

static int read_notes(struct elf *elf, const struct image *im, const struct image_part *p,
                      struct err *e)
{
    u64 len = min(p->filesz, (u64)ELF_NOTES_MAX);
    AUTO(free) u8 *notes = try_new(u8, align_up(len, 4), ELF_NOTES_MAX);
    u64 entry;
    int r;

    if (len == 0 || elf->pvh_entry)
        return 0;
    if (!notes)
        return err_set(e, -ENOMEM, "no memory for its notes");
    r = image_read(im, p->at, notes, len, "notes", e);
    if (r < 0)
        return r;
    entry = find_pvh(notes, align_up((size_t)len, 4));
    if (entry > UINT32_MAX)
        return err_set(e, -EBADMSG, "damaged: its PVH entry 0x%llx is not a 32-bit address", entry);
    elf->pvh_entry = entry;
    return 0;
}

int elf_parse(const struct image *im, struct elf *ret, struct err *e)
{
    u8 ident[EI_NIDENT];
    struct elf elf = {};
    struct shape s;
    int r = image_read(im, 0, ident, sizeof(ident), "ELF header", e);

    if (r < 0)
        return r;
    if (!elf_is(ident, sizeof(ident)) || ident[EI_DATA] != ELFDATA2LSB ||
        (ident[EI_CLASS] != ELFCLASS64 && ident[EI_CLASS] != ELFCLASS32))
        return err_set(e, -ENOEXEC, "is not a little-endian ELF file");
    elf.is_64 = ident[EI_CLASS] == ELFCLASS64;
    r = read_shape(im, elf.is_64, &s, e);
    if (r == 0)
        r = check_shape(&s, elf.is_64, e);
    elf.entry = r == 0 ? s.entry : 0;
    for (unsigned i = 0; r == 0 && i < s.phnum; i++) {
        struct phdr p = {};
        u64 at;

        if (!add_ok(&at, s.phoff, (u64)i * s.phentsize))
            return err_set(e, -EBADMSG, "damaged: its program headers are at %llu", s.phoff);
        r = read_phdr(im, elf.is_64, at, &p, e);
        if (r == 0 && p.type == PT_LOAD)
            r = add_load(&elf, im, &p.part, e);
        if (r == 0 && p.type == PT_NOTE)
            r = read_notes(&elf, im, &p.part, e);
    }
    if (r < 0)
        return r;
    if (elf.n_segs == 0)
        return err_set(e, -ENOEXEC, "is an ELF file with nothing to load");
    *ret = elf;
    return 0;
}

int elf_load(const struct elf *elf, const struct image *im, const struct image_to *to,
             struct err *e)
{
    int r = 0;

    for (unsigned i = 0; i < elf->n_segs && r == 0; i++)
        r = image_load(im, &elf->segs[i], to, e);
    return r;
}
