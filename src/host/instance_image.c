/*
 * host/instance_image.c: whether an instance can be made of the images that it names, and of which kind it is then.
 */
#include "host/images.h"
#include "host/instance.h"

/* May a machine be made of it? */
static int check_image(const struct instance_cfg *c, const struct image_cfg *image, struct err *e)
{
    if (c->image && image->kind == IMAGE_ISO)
        return err_set(e, -EINVAL,
                       "'image' is '%s', which is an ISO: 'iso' (--iso) gives it as a disk",
                       c->image);
    if (c->image && image->kind == IMAGE_DISK && !c->spec.kernel)
        return err_set(e, -EINVAL,
                       "'image' is '%s', which is a disk without a kernel: 'kernel' is missing",
                       c->image);
    return 0;
}

int instance_check_iso(const struct instance_cfg *c, const char *images, struct err *e)
{
    struct image_cfg image = {};
    int r = c->iso ? images_get(images, c->iso, &image, e) : 0;

    if (r >= 0 && c->iso && image.kind != IMAGE_ISO)
        r = err_set(e, -EINVAL, "'iso' is '%s', which is no ISO but a %s", c->iso,
                    image_kinds[image.kind]);
    conf_fini(image_cfg_fields, &image);
    return r < 0 ? err_field(e, "iso") : 0;
}

int instance_settle_kind(struct instance_cfg *c, const struct image_cfg *image, struct err *e)
{
    if (check_image(c, image, e) < 0)
        return -EINVAL;
    if (!image_is_os(image))
        return c->kind == INSTANCE_OS
                   ? err_set(
                         e, -EINVAL,
                         "'image' is '%s', which is of a machine; kind os needs one with a root "
                         "file system (pool import --rootfs)",
                         c->image)
                   : instance_check_machine(c, e);
    if (c->kind == INSTANCE_OS)
        return 0;
    c->kind = INSTANCE_OS;
    return instance_check_os(c, e);
}
