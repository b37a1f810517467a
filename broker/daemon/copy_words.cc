// SPDX-License-Identifier: Apache-2.0
#include "broker/daemon/copy_words.h"

namespace latchkey::daemon {

CopyWords::CopyWords(CLI::App& app, std::string& config_file) {
    const auto word = [&](const char* name, const char* what, const char* config_flag) {
        CLI::App* made = app.add_subcommand(name, what);
        made->add_option(config_flag, config_file, "configuration file")->capture_default_str();
        return made;
    };
    const auto take_loss = [&](CLI::App* words) {
        words->add_option("--epoch-at-least", loss_.epoch_at_least,
                          "go on above what VMs have seen; default: 1000000 more than the ledger");
        words->add_flag("--lock-users", loss_.locks_users, "lock all accounts but admins'");
    };
    backup_ = word("backup", "write the ledger into a new file, while the broker runs", "--config");
    backup_->add_option("FILE", file_, "where it goes")->required();

    restore_ = word("restore", "fill an empty store from a backup, while no broker runs", "--config");
    restore_->add_option("FILE", file_, "a backup")->required();
    auto* as_it_was = restore_->add_flag("--nothing-since", nothing_since_,
                                         "the ledger was not used after the backup: go on where it ends");
    auto* safe =
        restore_->add_flag("--revoke-all", revokes_all_,
                           "or it was: revoke all that was issued, above every epoch that VMs have seen");
    as_it_was->excludes(safe);
    take_loss(restore_);

    copy_ = word("copy", "copy the ledger into the empty store of another configuration", "--from");
    copy_->add_option("--to", to_, "configuration file that names the new store")->required();

    revoke_all_ = word("revoke-all", "make a database safe that was set back by other means", "--config");
    take_loss(revoke_all_);
}

bool CopyWords::parsed() const {
    return backup_->parsed() || restore_->parsed() || copy_->parsed() || revoke_all_->parsed();
}

Status CopyWords::run(const Config& config) const {
    if (backup_->parsed()) return backup(config, std::filesystem::absolute(file_));
    if (revoke_all_->parsed()) return revoke_all(config, loss_);
    if (copy_->parsed()) {
        LK_TRY(to, read_config(std::filesystem::absolute(to_)));
        return copy(config, to);
    }
    if (!nothing_since_ && !revokes_all_) {
        return fail(Code::kUsage, "say what became of the ledger after the backup",
                    "--nothing-since: it was not used; else, or in doubt, --revoke-all");
    }
    if (nothing_since_ && (loss_.epoch_at_least != 0 || loss_.locks_users))
        return fail(Code::kUsage, "--epoch-at-least and --lock-users belong to --revoke-all");
    return restore(config, std::filesystem::absolute(file_),
                   revokes_all_ ? std::optional<AfterLoss>(loss_) : std::nullopt);
}

} // namespace latchkey::daemon
