// SPDX-License-Identifier: Apache-2.0
#pragma once
// A frame is uint32 length, byte type, fields; length counts the type byte and what follows. Every message
// ends in an extension list of (name, value): unknown ones are ignored unless the name starts with '!'
// (critical: the message is kUnsupported). Unknown types are answered with Unsupported. docs/protocol-*.md
// lists the bytes.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/bytes.h"
#include "core/base/result.h"

namespace latchkey::protocol {

inline constexpr std::size_t kLocalFrameLimit = 64 * 1024;
inline constexpr std::size_t kHubFrameLimit = 1024 * 1024;

// One number space for all three protocols, so that a frame in the wrong place is never mistaken for another.
enum class Type : std::uint8_t {
    // any
    kUnsupported = 1,
    kRefused = 2,
    // local: helper, PAM module, operator -> agent
    kAuthorize = 10,
    kAuthorized = 11,
    kAccountCheck = 12,
    kAccountAnswer = 13,
    kSessionOpen = 14,
    kSessionAnswer = 15,
    kSessionClose = 16,
    kAcknowledged = 17,
    kStepUp = 18,
    kStepUpAnswer = 19,
    kAgentStatus = 20,
    kAgentStatusAnswer = 21,
    kStepUpCode = 22,
    kExplainLogin = 23,
    kExplainLoginAnswer = 24,
    // hub: agent <-> broker
    kJoin = 40,
    kJoined = 41,
    kHello = 42,
    kWelcome = 43,
    kFetch = 44,
    kGrant = 45,
    kRevoke = 46,
    kReceipt = 47,
    kSessionEvent = 48,
    kHeartbeat = 49,
    kTrust = 50,
    kSessionEnd = 51,
    kRefresh = 52,
    kHubStepUp = 53,
    kHubStepUpAnswer = 54,
    kReport = 55,
    kReported = 56,
    kSessionEnded = 57,
    // signer: broker -> signer
    kSignCertificate = 80,
    kSigned = 81,
    kPublicKeys = 82,
    kPublicKeyList = 83,
};

struct Extension {
    std::string name;
    Bytes value;
    bool operator==(const Extension&) const = default;
};
using Extensions = std::vector<Extension>;

struct Frame {
    Type type;
    Bytes fields;
};

// How many bytes the frame at the head of `input` takes in all, once its length is there: nullopt means read
// on. kTooLarge over the limit, kMalformed for a length of zero: the connection is to be closed.
Result<std::optional<std::size_t>> frame_size(ByteView input, std::size_t limit);
Bytes encode_frame(Type type, ByteView fields);
// A whole frame as frame_size() measured it.
Result<Frame> decode_frame(ByteView whole);

} // namespace latchkey::protocol
