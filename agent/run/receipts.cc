// SPDX-License-Identifier: Apache-2.0
// latchkey-agent receipts: read from the state folder, so that it works without a running agent too.
#include <cstdio>

#include "agent/config/agent_config.h"
#include "agent/run/commands.h"
#include "agent/trust/state_folder.h"
#include "core/receipt/receipt.h"

namespace latchkey::agent {

Status run_receipts(const ConfigChoice& choice, bool as_json) {
    LK_TRY(config, choice.file.empty() ? load_config(kDefaultConfigFile, MissingFile::kMeansDefaults)
                                       : load_config(choice.file, MissingFile::kIsAnError));
    const StateFolder folder(config.state_dir);
    LK_TRY(pin, folder.load_pin());
    LK_TRY(identity, folder.load_identity());
    auto kept = folder.load_receipts();
    if (!kept && kept.error().code != Code::kNotFound) return fail(std::move(kept).error());
    std::vector<receipt::SignedReceipt> receipts;
    if (kept) {
        for (protocol::Receipt& one : *kept)
            receipts.push_back({pin.vm_name, identity.public_key().fingerprint(), std::move(one)});
    }
    if (as_json) {
        std::printf("{\"vm\":\"%s\",\"key\":\"%s\",\"receipts\":%s}\n", pin.vm_name.str().c_str(),
                    identity.public_key().line().c_str(), receipt::to_json(receipts).c_str());
    } else {
        if (receipts.empty()) std::printf("no receipts: nothing was revoked since this VM joined\n");
        for (const auto& one : receipts) std::printf("%s\n", receipt::describe(one).c_str());
    }
    return {};
}

} // namespace latchkey::agent
