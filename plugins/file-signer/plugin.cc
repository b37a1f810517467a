// SPDX-License-Identifier: Apache-2.0
#include "plugins/sdk/plugin.h"

#include "plugins/file-signer/file_signer.h"

LK_PLUGIN(latchkey::file_signer::FileSigner, "file-signer", LATCHKEY_VERSION)
