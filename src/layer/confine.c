/*
 * layer/confine.c: what a process gives up before it looks into an image, by jail/.
 */
#include "layer/confine.h"

#include "jail/jail.h"

#include <linux/capability.h>
#include <sys/stat.h>

#define CAP(name) (1ull << (name))

static bool is_dir(int fd)
{
    struct stat st;

    return fd >= 0 && fstat(fd, &st) == 0 && S_ISDIR(st.st_mode);
}

int confine_enter(const struct confine_cfg *cfg, struct err *e)
{
    const int keep[] = { cfg->pool, cfg->source, cfg->layout };
    const struct jail_dir dirs[] = { { cfg->pool, true }, { cfg->source, false } };
    const struct jail_cfg jail = {
        .keep = keep,
        .n_keep = ARRAY_LEN(keep),
        .keep_ids = true,
        .keep_caps = CAP(CAP_CHOWN) | CAP(CAP_DAC_OVERRIDE) | CAP(CAP_FOWNER) | CAP(CAP_FSETID) |
                     CAP(CAP_SETFCAP) | (cfg->devices ? CAP(CAP_MKNOD) : 0) |
                     (cfg->trusted ? CAP(CAP_SYS_ADMIN) : 0),
        .dirs = dirs,
        .n_dirs = is_dir(cfg->source) ? 2 : 1,
    };
    struct jail_report report;
    AUTO(strbuf) struct strbuf text = {};
    int r = jail_enter(&jail, &report, e);

    if (r < 0)
        return r;
    if (report.code[JAIL_ROOT] < 0 && report.code[JAIL_LANDLOCK] < 0)
        return err_set(
            e, -EPERM,
            "this host allows neither an empty root nor Landlock: images are not read here");
    jail_report_text(&report, &text);
    log_info("%s", text.text);
    return jail_seccomp(JAIL_UNPACK, e);
}
