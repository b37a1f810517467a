// SPDX-License-Identifier: Apache-2.0
#pragma once
// The words of the command line that deal with the ledger as a whole. Lives as long as the CLI::App; main
// thread.

#include <CLI/CLI.hpp>
#include <string>

#include "broker/daemon/config.h"
#include "broker/daemon/copies.h"

namespace latchkey::daemon {

class CopyWords {
public:
    // `config_file`: where the --config of all commands goes.
    CopyWords(CLI::App& app, std::string& config_file);
    CopyWords(const CopyWords&) = delete;
    CopyWords& operator=(const CopyWords&) = delete;

    bool parsed() const;
    Status run(const Config& config) const;

private:
    CLI::App* backup_;
    CLI::App* restore_;
    CLI::App* copy_;
    CLI::App* revoke_all_;
    std::string file_;
    std::string to_;
    bool nothing_since_ = false;
    bool revokes_all_ = false;
    AfterLoss loss_;
};

} // namespace latchkey::daemon
