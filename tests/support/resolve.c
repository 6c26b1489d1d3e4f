/* What a libc's resolver says: a line "FAMILY NAME" (4, 6, or 0 for both) or "PTR ADDRESS" in, a line of JSON-free words
   out: the question, the status of getaddrinfo or getnameinfo, and what was found. Built with gcc and musl-gcc. */
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

static void forward(const char *family, const char *name) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL, *one;
    char text[INET6_ADDRSTRLEN];
    hints.ai_family = *family == '4' ? AF_INET : *family == '6' ? AF_INET6 : AF_UNSPEC;
    int status = getaddrinfo(name, "80", &hints, &found);
    printf("%s %s %d", family, name, status);
    for (one = status ? NULL : found; one; one = one->ai_next) {
        const void *at = one->ai_family == AF_INET ? (void *)&((struct sockaddr_in *)one->ai_addr)->sin_addr
                                                   : (void *)&((struct sockaddr_in6 *)one->ai_addr)->sin6_addr;
        printf(" %s", inet_ntop(one->ai_family, at, text, sizeof text));
    }
    printf("\n");
    if (!status) freeaddrinfo(found);
}

static void backward(const char *address) {
    struct sockaddr_in four = {.sin_family = AF_INET};
    struct sockaddr_in6 six = {.sin6_family = AF_INET6};
    char host[NI_MAXHOST] = "";
    int is_six = strchr(address, ':') != NULL;
    inet_pton(is_six ? AF_INET6 : AF_INET, address, is_six ? (void *)&six.sin6_addr : (void *)&four.sin_addr);
    struct sockaddr *at = is_six ? (struct sockaddr *)&six : (struct sockaddr *)&four;
    int status = getnameinfo(at, is_six ? sizeof six : sizeof four, host, sizeof host, NULL, 0, NI_NAMEREQD);
    printf("PTR %s %d %s\n", address, status, host);
}

int main(void) {
    char kind[8], name[1024];
    while (scanf("%7s %1023s", kind, name) == 2) {
        if (strcmp(kind, "PTR")) forward(kind, name);
        else backward(name);
    }
    return 0;
}
