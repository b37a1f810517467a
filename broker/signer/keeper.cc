// SPDX-License-Identifier: Apache-2.0
#include "broker/signer/keeper.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>

#include "core/base/unique_handle.h"

namespace latchkey::signer {
namespace {

constexpr useconds_t kLeastPause = 100'000;
constexpr useconds_t kMostPause = 5'000'000;

int wait_for(pid_t child) {
    int status = 0;
    while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

} // namespace

int keep(const std::function<int(const std::function<void()>& ready)>& worker) {
    bool was_ready = false;
    for (useconds_t pause = kLeastPause;; pause = std::min(pause * 2, kMostPause)) {
        std::array<int, 2> fds{};
        if (::pipe2(fds.data(), O_CLOEXEC) != 0) return EXIT_FAILURE;
        const UniqueFd reading(fds[0]);
        UniqueFd writing(fds[1]);
        const pid_t keeper = ::getpid();
        const pid_t child = ::fork();
        if (child < 0) return EXIT_FAILURE;
        if (child == 0) {
            const int status = worker([&] {
                ::prctl(PR_SET_PDEATHSIG, SIGKILL); // after root was dropped: the change of user clears it
                if (::getppid() != keeper) ::_exit(EXIT_FAILURE);
                const char byte = 'r';
                (void)!::write(writing.get(), &byte, 1);
            });
            ::_exit(status);
        }
        writing.reset();
        char byte = 0;
        const bool is_ready = ::read(reading.get(), &byte, 1) == 1;
        was_ready = was_ready || is_ready;
        const int status = wait_for(child);
        if (status == 0 || !was_ready) return status;
        if (is_ready) pause = kLeastPause;
        ::usleep(pause);
    }
}

} // namespace latchkey::signer
