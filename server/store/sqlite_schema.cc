#include "server/store/sqlite_schema.h"

#include <iterator>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "server/store/schema_sql.h"

namespace tributary {
namespace {

struct Migration {
  const char* sql;
  const char* set_version;
};

// The step at index i leads from version i to i + 1. Append; never change one that was released.
constexpr Migration kMigrations[] = {
    {kSchemaSql, "PRAGMA user_version = 1"},
    {kSchemaV2Sql, "PRAGMA user_version = 2"},
};

}  // namespace

int64_t NewestSchemaVersion() { return std::ssize(kMigrations); }

absl::Status MigrateSchema(const SqliteConnection& db) {
  SqliteStatement query = db.Prepare("PRAGMA user_version");
  const int64_t found = query.Next() ? query.Integer(0) : 0;
  TRIB_RETURN_IF_ERROR(query.Run());
  if (found > NewestSchemaVersion()) {
    return absl::FailedPreconditionError(absl::StrCat(
        "the database has schema version ", found, ", this program knows versions up to ",
        NewestSchemaVersion(), ": use the newer program that wrote it"));
  }
  for (int64_t version = found; version < NewestSchemaVersion(); ++version) {
    TRIB_ASSIGN_OR_RETURN(SqliteTransaction transaction, SqliteTransaction::Begin(db));
    TRIB_RETURN_IF_ERROR(db.Execute(kMigrations[version].sql));
    TRIB_RETURN_IF_ERROR(db.Execute(kMigrations[version].set_version));
    TRIB_RETURN_IF_ERROR(transaction.Commit());
  }
  return absl::OkStatus();
}

}  // namespace tributary
