// SPDX-License-Identifier: Apache-2.0
#pragma once
// For tests only: a temporary folder in which stock ssh-keygen runs, and a software authenticator that signs
// as a security key would (hardware cannot be had in a test). Whatever fails here ends the test with its
// reason.

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "core/base/bytes.h"
#include "core/keys/openssl.h"
#include "core/keys/private_key.h"
#include "core/keys/public_key.h"
#include "core/wire/reader.h"
#include "core/wire/writer.h"

namespace latchkey::keys {

struct Outcome {
    int status = -1;
    std::string output; // stdout and stderr
};

class Workshop {
public:
    Workshop() {
        std::string path = (std::filesystem::temp_directory_path() / "latchkey-test-XXXXXX").string();
        if (::mkdtemp(path.data()) == nullptr) std::abort();
        root_ = path;
    }
    ~Workshop() { std::filesystem::remove_all(root_); }
    Workshop(const Workshop&) = delete;
    Workshop& operator=(const Workshop&) = delete;

    std::string path(const std::string& name) const { return (root_ / name).string(); }

    void write(const std::string& name, ByteView content) const {
        std::ofstream(path(name), std::ios::binary) << as_text(content);
        ::chmod(path(name).c_str(), 0600); // ssh-keygen refuses a private key that others can read
    }
    void write(const std::string& name, std::string_view text) const { write(name, as_bytes(text)); }

    std::string read(const std::string& name) const {
        std::ifstream file(path(name), std::ios::binary);
        EXPECT_TRUE(file.good()) << name;
        return {std::istreambuf_iterator<char>(file), {}};
    }

    // Runs a shell line inside the folder.
    Outcome run(const std::string& command) const {
        Outcome outcome;
        std::FILE* pipe = ::popen(("cd " + root_.string() + " && { " + command + "; } 2>&1").c_str(), "r");
        if (pipe == nullptr) return outcome;
        std::array<char, 4096> buffer{};
        for (std::size_t size = 0; (size = std::fread(buffer.data(), 1, buffer.size(), pipe)) > 0;)
            outcome.output.append(buffer.data(), size);
        const int status = ::pclose(pipe);
        outcome.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
        return outcome;
    }
    void must_run(const std::string& command) const {
        const Outcome outcome = run(command);
        ASSERT_EQ(outcome.status, 0) << command << "\n" << outcome.output;
    }

    // `ssh-keygen -t …` into NAME and NAME.pub; the public key as we parse it.
    PublicKey make_key(const std::string& name, const std::string& type_arguments) const {
        must_run("ssh-keygen -q -N '' -C " + name + " -f " + name + " -t " + type_arguments);
        auto key = PublicKey::from_line(read(name + ".pub"));
        EXPECT_TRUE(key) << name;
        return key ? std::move(*key) : PublicKey();
    }

private:
    std::filesystem::path root_;
};

// What a FIDO token does, in software.
class SoftwareAuthenticator {
public:
    explicit SoftwareAuthenticator(KeyType type, std::string application = "ssh:")
        : type_(type),
          application_(std::move(application)),
          key_(*PrivateKey::generate(type == KeyType::kSkEd25519 ? KeyType::kEd25519 : KeyType::kEcdsa256)) {}

    PublicKey public_key() const {
        wire::Writer writer;
        writer.string(type_name(type_));
        writer.raw(key_.public_key().fields());
        writer.string(application_);
        return *PublicKey::from_blob(writer.bytes());
    }

    Bytes sign(ByteView data, std::uint8_t flags = 0x01, std::uint32_t counter = 7) const {
        wire::Writer message;
        message.raw(sha256(as_bytes(application_)));
        message.u8(flags);
        message.u32(counter);
        message.raw(sha256(data));
        const Bytes plain = *key_.sign(message.bytes());
        wire::Reader reader(plain);
        (void)reader.string();
        wire::Writer signature;
        signature.string(type_name(type_));
        signature.string(*reader.string());
        signature.u8(flags);
        signature.u32(counter);
        return signature.take();
    }

private:
    KeyType type_;
    std::string application_;
    PrivateKey key_;
};

} // namespace latchkey::keys
