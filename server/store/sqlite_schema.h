// The schema's version, kept in the database as PRAGMA user_version, and the way to the
// newest one.
#ifndef TRIBUTARY_SERVER_STORE_SQLITE_SCHEMA_H_
#define TRIBUTARY_SERVER_STORE_SQLITE_SCHEMA_H_

#include <cstdint>

#include "absl/status/status.h"
#include "server/store/sqlite_connection.h"

namespace tributary {

int64_t NewestSchemaVersion();

// Brings an empty database or one of any older version to the newest, one transaction per
// step. FailedPrecondition: it is newer than this program; nothing is changed.
absl::Status MigrateSchema(const SqliteConnection& db);

}  // namespace tributary

#endif  // TRIBUTARY_SERVER_STORE_SQLITE_SCHEMA_H_
