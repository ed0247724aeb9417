/*
 * cmd/remote_curl.c: in `socle-more`: connections over TLS by libcurl, which also knows proxies and which of a name's addresses
 * answers.  Who is there is known by the SHA-256 of its certificate, and looked at before a byte is sent; no authority is asked.
 */
#include "cmd/more.h"

#include <curl/curl.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <poll.h>
#include <stdlib.h>
#include <strings.h>

char **more_argv;

/* There is one for each run of the program. */
static struct remote remote;

/* A connection.  What curl_wait found is kept for curl_recv: TLS may hold bytes of which the socket knows nothing. */
struct conn {
    CURL *curl;
    char buf[16 * 1024];
    size_t len, at;
};

/* The PEM text of the server's own certificate; NULL: there is none. */
static const char *certificate(CURL *curl)
{
    struct curl_certinfo *info = NULL;

    if (curl_easy_getinfo(curl, CURLINFO_CERTINFO, &info) != CURLE_OK || !info ||
        info->num_of_certs < 1)
        return NULL;
    for (struct curl_slist *l = info->certinfo[0]; l; l = l->next)
        if (str_starts(l->data, "Cert:"))
            return l->data + strlen("Cert:");
    return NULL;
}

static int read_fingerprint(CURL *curl, char ret[100], struct err *e)
{
    const char *pem = certificate(curl);
    BIO *bio = pem ? BIO_new_mem_buf(pem, -1) : NULL;
    X509 *x = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
    AUTO(strbuf) struct strbuf text = {};
    u8 hash[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    const bool ok = x && X509_digest(x, EVP_sha256(), hash, &len);

    X509_free(x);
    BIO_free(bio);
    if (!ok)
        return err_set(e, -EIO, "it has no certificate");
    for (unsigned i = 0; i < len; i++)
        strbuf_add(&text, "%s%02X", i ? ":" : "", hash[i]);
    str_copy(ret, 100, text.text);
    return 0;
}

static struct conn *connect_to(const char *url, int *ret_fd, struct err *e)
{
    struct conn *c = xnew(struct conn);
    CURL *curl = c->curl = curl_easy_init();
    char text[CURL_ERROR_SIZE] = "";
    curl_socket_t fd = CURL_SOCKET_BAD;
    CURLcode code;

    must(curl);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "https");
    curl_easy_setopt(curl, CURLOPT_CONNECT_ONLY, 1l);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, (long)REST_SECONDS);
    curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 0l); /* the fingerprint does */
    curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 0l);
    curl_easy_setopt(curl, CURLOPT_CERTINFO, 1l);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, text);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1l);
    code = curl_easy_perform(curl);
    if (code == CURLE_OK)
        code = curl_easy_getinfo(curl, CURLINFO_ACTIVESOCKET, &fd);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, NULL);
    if (code == CURLE_OK && fd != CURL_SOCKET_BAD) {
        *ret_fd = fd;
        return c;
    }
    err_set(e, -ECONNREFUSED, "connect to '%s': %s", url,
            text[0] ? text : curl_easy_strerror(code));
    curl_easy_cleanup(curl);
    free(c);
    return NULL;
}

static CURL *curl_of(const struct rest *r)
{
    return ((struct conn *)r->conn)->curl;
}

static int curl_open(struct rest *r, struct err *e)
{
    char found[100];
    int n;

    r->conn = connect_to(remote.url, &r->fd, e);
    if (!r->conn)
        return e->code;
    n = read_fingerprint(curl_of(r), found, e);
    if (n >= 0 && strcasecmp(found, remote.fingerprint) != 0)
        n = err_set(e, -EPERM, "'%s' has another certificate than was agreed to: %s", remote.url,
                    found);
    if (n < 0)
        r->link->close(r);
    return n;
}

/* -EAGAIN: nothing is there now. */
static ssize_t take(struct rest *r, void *buf, size_t size)
{
    size_t n = 0;
    const CURLcode code = curl_easy_recv(curl_of(r), buf, size, &n);

    return code == CURLE_OK ? (ssize_t)n : code == CURLE_AGAIN ? -EAGAIN : -EPIPE;
}

static int curl_wait(struct rest *r, int ms)
{
    struct pollfd p = { .fd = r->fd, .events = POLLIN };
    struct conn *c = r->conn;
    ssize_t n;

    if (c->at < c->len)
        return 1;
    n = take(r, c->buf, sizeof(c->buf));
    if (n == -EAGAIN)
        return poll(&p, 1, ms);
    c->at = 0;
    c->len = n > 0 ? (size_t)n : 0;
    return 1; /* of an end curl_recv tells again */
}

static int curl_send(struct rest *r, const char *data, size_t len)
{
    struct pollfd p = { .fd = r->fd, .events = POLLOUT };

    while (len) {
        size_t n = 0;
        const CURLcode code = curl_easy_send(curl_of(r), data, len, &n);

        if (code != CURLE_OK && code != CURLE_AGAIN)
            return -EPIPE;
        data += n;
        len -= n;
        if (code == CURLE_AGAIN && poll(&p, 1, REST_SECONDS * 1000) == 0)
            return -ETIMEDOUT;
    }
    return 0;
}

static ssize_t curl_recv(struct rest *r, void *buf, size_t size)
{
    struct pollfd p = { .fd = r->fd, .events = POLLIN };
    struct conn *c = r->conn;
    ssize_t n = (ssize_t)min(size, c->len - c->at);

    if (n) {
        memcpy(buf, c->buf + c->at, (size_t)n);
        c->at += (size_t)n;
        return n;
    }
    while ((n = take(r, buf, size)) == -EAGAIN)
        if (poll(&p, 1, REST_SECONDS * 1000) == 0)
            return -EAGAIN;
    return n;
}

static void curl_close(struct rest *r)
{
    curl_easy_cleanup(curl_of(r));
    explicit_bzero(r->conn, sizeof(struct conn));
    free(TAKE(r->conn));
    r->fd = -1; /* libcurl had it */
}

static const struct rest_link tls = { curl_open, curl_send, curl_recv, curl_wait, curl_close };

int remote_open(struct rest *r, const char *name, struct err *e)
{
    int n = remote_find(name, &remote, e);

    if (n < 0)
        return n;
    r->link = &tls;
    r->token = remote.token;
    return curl_open(r, e);
}

int remote_open_new(struct rest *r, const char *url, char ret_fingerprint[100], struct err *e)
{
    int n = 0;

    *r = (struct rest){ .link = &tls, .fd = -1 };
    r->conn = connect_to(url, &r->fd, e);
    if (!r->conn)
        return e->code;
    n = read_fingerprint(curl_of(r), ret_fingerprint, e);
    remote = (struct remote){ .url = xdup(url), .fingerprint = xdup(ret_fingerprint) };
    curl_close(r); /* asked about it, a person may need longer than a connection waits */
    return n;
}
