// SPDX-License-Identifier: Apache-2.0
// The least that an AuthorizedKeysCommand can do that asks a local agent: a static C program, one round trip
// on a Unix socket. And the least that such an agent can do: one answer for all.
//   floor_helper SOCKET WORD          sends WORD, prints what comes back
//   floor_helper serve SOCKET FILE    answers every connection with FILE's content; writes "ready" once it
//   listens
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static struct sockaddr_un address_of(const char* path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strncpy(address.sun_path, path, sizeof address.sun_path - 1);
    return address;
}

static int ask(const char* path, const char* word) {
    const struct sockaddr_un address = address_of(path);
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, (const struct sockaddr*)&address, sizeof address) != 0) return 1;
    if (write(fd, word, strlen(word)) < 0) return 1;
    char part[4096];
    ssize_t got = 0;
    while ((got = read(fd, part, sizeof part)) > 0) {
        if (write(1, part, (size_t)got) != got) return 1;
    }
    return 0;
}

static int serve(const char* path, const char* file) {
    char answer[4096];
    FILE* source = fopen(file, "r");
    if (source == NULL) return 1;
    const size_t size = fread(answer, 1, sizeof answer, source);
    fclose(source);
    const struct sockaddr_un address = address_of(path);
    const int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(listener, (const struct sockaddr*)&address, sizeof address) != 0 || listen(listener, 64) != 0)
        return 1;
    chmod(path, 0666); // helpers run as another user
    puts("ready");
    fflush(stdout);
    for (;;) {
        const int fd = accept(listener, NULL, NULL);
        if (fd < 0) continue;
        char question[4096];
        if (read(fd, question, sizeof question) > 0 && write(fd, answer, size) < 0) perror("write");
        close(fd);
    }
}

int main(int argc, char** argv) {
    if (argc == 4 && strcmp(argv[1], "serve") == 0) return serve(argv[2], argv[3]);
    return argc == 3 ? ask(argv[1], argv[2]) : 2;
}
