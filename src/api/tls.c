/*
 * api/tls.c: the certificate of HTTPS: DIR/tls/cert.pem and key.pem.  If they are missing they are made: P-256, signed by itself, so
 * that clients know it by its fingerprint.  Whoever has one of a certificate authority puts it in their place.
 */
#include "api/server_internal.h"

#include <fcntl.h>
#include <netdb.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DAYS = 3650, SERIAL_BYTES = 16 };

void tls_files_fini(struct tls_files *f)
{
    free(TAKE(f->cert));
    free(TAKE(f->key));
}

static int add_extension(X509 *x, int nid, const char *value)
{
    X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, NULL, nid, value);
    const int ok = ext && X509_add_ext(x, ext, -1);

    X509_EXTENSION_free(ext);
    return ok;
}

static int fill(X509 *x, EVP_PKEY *key)
{
    char host[64] = "localhost";
    AUTO(free) char *names = NULL;
    u8 serial[SERIAL_BYTES];
    BIGNUM *number = NULL;
    int ok;

    (void)gethostname(host, sizeof(host) - 1);
    /* a name that is none would make the whole list refused */
    names = spec_name_ok(host) && strcmp(host, "localhost") != 0
                ? str_new("DNS:localhost,IP:127.0.0.1,IP:::1,DNS:%s", host)
                : xdup("DNS:localhost,IP:127.0.0.1,IP:::1");
    ok = RAND_bytes(serial, sizeof(serial)) == 1;
    serial[0] = (u8)((serial[0] & 0x7f) | 0x40); /* positive, and of full length */
    number = ok ? BN_bin2bn(serial, sizeof(serial), NULL) : NULL;
    ok = number && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(x)) && X509_set_version(x, 2) &&
         X509_gmtime_adj(X509_getm_notBefore(x), -3600) &&
         X509_gmtime_adj(X509_getm_notAfter(x), 86400l * DAYS) && X509_set_pubkey(x, key) &&
         X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC,
                                    (const u8 *)"socle", -1, -1, 0) &&
         X509_set_issuer_name(x, X509_get_subject_name(x)) &&
         add_extension(x, NID_subject_alt_name, names) &&
         add_extension(x, NID_basic_constraints, "critical,CA:FALSE") &&
         add_extension(x, NID_key_usage, "critical,digitalSignature") &&
         add_extension(x, NID_ext_key_usage, "serverAuth") && X509_sign(x, key, EVP_sha256());
    BN_free(number);
    return ok;
}

/* Under another name first: what is there is whole. */
static int write_pem(const char *file, X509 *x, EVP_PKEY *key, struct err *e)
{
    AUTO(free) char *part = str_new("%s.new", file);
    AUTO(fd) int fd = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    FILE *f = fd < 0 ? NULL : fdopen(fd, "w");
    bool ok;

    if (!f)
        return err_errno(e, "write '%s'", part);
    TAKE_FD(fd);
    ok = x ? PEM_write_X509(f, x) : PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL);
    ok = ok && fflush(f) == 0 && fsync(fileno(f)) == 0;
    ok = fclose(f) == 0 && ok;
    return ok && rename(part, file) == 0 ? 0 : err_errno(e, "write '%s'", file);
}

static int make(const struct tls_files *f, struct err *e)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *x = X509_new();
    int r = key && x && fill(x, key) ? 0 : err_set(e, -EIO, "a certificate cannot be made");

    if (r >= 0)
        r = write_pem(f->key, NULL, key, e);
    if (r >= 0)
        r = write_pem(f->cert, x, NULL, e);
    X509_free(x);
    EVP_PKEY_free(key);
    return r;
}

static int read_fingerprint(struct tls_files *f, struct err *e)
{
    FILE *file = fopen(f->cert, "re");
    X509 *x = file ? PEM_read_X509(file, NULL, NULL, NULL) : NULL;
    u8 hash[EVP_MAX_MD_SIZE];
    AUTO(strbuf) struct strbuf text = {};
    unsigned len = 0;
    const bool ok = x && X509_digest(x, EVP_sha256(), hash, &len);

    if (file)
        (void)fclose(file);
    X509_free(x);
    for (unsigned i = 0; i < len && ok; i++)
        strbuf_add(&text, "%s%02X", i ? ":" : "", hash[i]);
    str_copy(f->fingerprint, sizeof(f->fingerprint), text.text ? text.text : "");
    return ok ? 0 : err_set(e, -EINVAL, "'%s' is no certificate", f->cert);
}

int tls_files_open(const char *dir, struct tls_files *ret, struct err *e)
{
    AUTO(free) char *folder = str_new("%s/tls", dir);
    int r = 0;

    *ret = (struct tls_files){ .cert = str_new("%s/cert.pem", folder),
                               .key = str_new("%s/key.pem", folder) };
    if (mkdir(folder, 0700) < 0 && errno != EEXIST)
        return err_errno(e, "make folder '%s'", folder);
    if (access(ret->cert, F_OK) < 0)
        r = make(ret, e);
    return r < 0 ? r : read_fingerprint(ret, e);
}

void tls_tune(void *ssl_ctx)
{
    SSL_CTX *ctx = ssl_ctx;

    SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_NO_TICKET);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    must(SSL_CTX_set_cipher_list(ctx, "ECDHE+AESGCM:ECDHE+CHACHA20")); /* of TLS 1.2 */
}

/* ---- the listener ---- */

/* "ADDRESS", "ADDRESS:PORT", "[ADDRESS]:PORT", ":PORT", "ADDRESS" may be a bare IPv6 one. */
static int split(const char *where, char *address, size_t size, const char **ret_port)
{
    const char *colon = strrchr(where, ':'), *end = where + strlen(where);
    const bool bracket = where[0] == '[', bare = !bracket && colon && strchr(where, ':') != colon;

    if (bracket) {
        end = strchr(where, ']');
        if (!end || (end[1] && end[1] != ':'))
            return -EINVAL;
        where++;
        *ret_port = end[1] ? end + 2 : NULL;
    } else {
        end = colon && !bare ? colon : end;
        *ret_port = colon && !bare ? colon + 1 : NULL;
    }
    return str_fmt(address, size, "%.*s", (int)(end - where), where) ? 0 : -EINVAL;
}

static int bind_to(const struct addrinfo *ai)
{
    AUTO(fd) int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    const int on = 1, off = 0;

    if (fd < 0)
        return -errno;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (ai->ai_family == AF_INET6) /* "::" is all addresses, of IPv4, too */
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
    if (bind(fd, ai->ai_addr, ai->ai_addrlen) < 0 || listen(fd, SERVER_CLIENTS_MAX) < 0)
        return -errno;
    return TAKE_FD(fd);
}

static void name_socket(int fd, char *ret, size_t size)
{
    struct sockaddr_storage at;
    socklen_t len = sizeof(at);
    char address[64], port[8];

    if (getsockname(fd, (struct sockaddr *)&at, &len) < 0 ||
        getnameinfo((struct sockaddr *)&at, len, address, sizeof(address), port, sizeof(port),
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        return;
    if (at.ss_family == AF_INET6)
        str_fmt(ret, size, "[%s]:%s", address, port);
    else
        str_fmt(ret, size, "%s:%s", address, port);
}

int tls_listen(const char *where, char *ret_name, size_t size, struct err *e)
{
    const struct addrinfo hints = { .ai_flags = AI_PASSIVE | AI_NUMERICHOST | AI_NUMERICSERV,
                                    .ai_socktype = SOCK_STREAM };
    char address[64], standard[8];
    struct addrinfo *ai;
    const char *port;
    int fd;

    str_fmt(standard, sizeof(standard), "%d", SERVER_PORT);
    if (split(where, address, sizeof(address), &port) < 0 ||
        getaddrinfo(address[0] ? address : "::", port ? port : standard, &hints, &ai) != 0)
        return err_set(e, -EINVAL, "'%.80s': ADDRESS:PORT, [ADDRESS]:PORT or :PORT is expected",
                       where);
    fd = bind_to(ai);
    freeaddrinfo(ai);
    if (fd < 0)
        return err_code(e, fd, "listen on '%s'", where);
    name_socket(fd, ret_name, size);
    return fd;
}
