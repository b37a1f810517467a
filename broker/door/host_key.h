// SPDX-License-Identifier: Apache-2.0
#pragma once
// The door's face to strangers: its host key and the pinned algorithm lists, held by an ssh_bind each.
// accept() copies keys and writes into the bind, so a bind serves one thread at a time: borrow() gives a free
// one or makes one. Any thread.

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "core/base/result.h"
#include "core/base/secret_bytes.h"
#include "core/keys/private_key.h"

struct ssh_bind_struct;

namespace latchkey::door {

class HostKey {
public:
    explicit HostKey(const keys::PrivateKey& identity);
    ~HostKey();

    class Borrowed {
    public:
        Borrowed(HostKey& owner, ssh_bind_struct* bind) : owner_(owner), bind_(bind) {}
        Borrowed(Borrowed&& other) noexcept : owner_(other.owner_), bind_(other.bind_) {
            other.bind_ = nullptr;
        }
        ~Borrowed();
        ssh_bind_struct* get() const { return bind_; }

    private:
        HostKey& owner_;
        ssh_bind_struct* bind_;
    };
    Result<Borrowed> borrow();

private:
    Result<ssh_bind_struct*> make() const;

    SecretBytes pem_;
    std::mutex mutex_;
    std::vector<ssh_bind_struct*> idle_;
};

} // namespace latchkey::door
