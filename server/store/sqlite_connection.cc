#include "server/store/sqlite_connection.h"

#include <sqlite3.h>

#include <cerrno>
#include <cmath>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/exhausted.h"
#include "common/status_macros.h"

namespace tributary {
namespace {

absl::Status SqliteError(sqlite3* db, int code) {
  const std::string message = absl::StrCat("database: ", sqlite3_errmsg(db), " (",
                                           sqlite3_errstr(code), ", SQLite code ", code, ")");
  switch (code) {
    case SQLITE_IOERR_READ:
    case SQLITE_IOERR_SHORT_READ:
    case SQLITE_IOERR_CORRUPTFS:
    case SQLITE_IOERR_DATA:
      return absl::DataLossError(message);
    default:
      break;
  }
  switch (code & 0xff) {  // the primary code of an extended one
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return absl::DataLossError(message);
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
      if (sqlite3_system_errno(db) != ENOSPC) return absl::UnavailableError(message);
      [[fallthrough]];
    case SQLITE_FULL:
      return MarkExhausted(absl::UnavailableError(message), kDisk);
    case SQLITE_PERM:
    case SQLITE_READONLY:
      return absl::PermissionDeniedError(message);
    case SQLITE_TOOBIG:
      return absl::InvalidArgumentError(message);
    default:
      return absl::InternalError(message);
  }
}

}  // namespace

void SqliteStatement::Finalize::operator()(sqlite3_stmt* statement) const {
  sqlite3_finalize(statement);
}

SqliteStatement::SqliteStatement(sqlite3* db, const char* sql) : db_(db) {
  sqlite3_stmt* statement = nullptr;
  Check(sqlite3_prepare_v2(db, sql, -1, &statement, nullptr));
  statement_.reset(statement);
}

SqliteStatement& SqliteStatement::Check(int code) {
  if (code != SQLITE_OK && status_.ok()) status_ = SqliteError(db_, code);
  return *this;
}

SqliteStatement& SqliteStatement::Bind(int64_t value) {
  if (!status_.ok()) return *this;
  return Check(sqlite3_bind_int64(statement_.get(), ++bound_, value));
}

SqliteStatement& SqliteStatement::Bind(double value) {
  if (!status_.ok()) return *this;
  return Check(sqlite3_bind_double(statement_.get(), ++bound_, value));
}

SqliteStatement& SqliteStatement::Bind(const std::string& value) {
  if (!status_.ok()) return *this;
  return Check(sqlite3_bind_text64(statement_.get(), ++bound_, value.data(), value.size(),
                                   SQLITE_TRANSIENT, SQLITE_UTF8));
}

SqliteStatement& SqliteStatement::Bind(const Digest& value) {
  if (!status_.ok()) return *this;
  return Check(sqlite3_bind_blob64(statement_.get(), ++bound_, value.bytes.data(),
                                   value.bytes.size(), SQLITE_TRANSIENT));
}

SqliteStatement& SqliteStatement::Bind(absl::Time value) { return Bind(absl::ToUnixNanos(value)); }

SqliteStatement& SqliteStatement::BindNull() {
  if (!status_.ok()) return *this;
  return Check(sqlite3_bind_null(statement_.get(), ++bound_));
}

absl::Status SqliteStatement::Run() {
  while (Next()) {
  }
  TRIB_RETURN_IF_ERROR(status_);
  bound_ = 0;
  done_ = false;
  return Check(sqlite3_reset(statement_.get())).status_;
}

bool SqliteStatement::Next() {
  if (done_ || !status_.ok()) return false;
  const int code = sqlite3_step(statement_.get());
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) {
    done_ = true;
  } else {
    Check(code);
  }
  return false;
}

bool SqliteStatement::IsNull(int column) const {
  return sqlite3_column_type(statement_.get(), column) == SQLITE_NULL;
}

int64_t SqliteStatement::Integer(int column) const {
  return sqlite3_column_int64(statement_.get(), column);
}

double SqliteStatement::Real(int column) const {
  if (IsNull(column)) return std::numeric_limits<double>::quiet_NaN();
  return sqlite3_column_double(statement_.get(), column);
}

std::string SqliteStatement::Text(int column) const {
  const void* const text = sqlite3_column_blob(statement_.get(), column);
  const int size = sqlite3_column_bytes(statement_.get(), column);
  return std::string(static_cast<const char*>(text), static_cast<size_t>(size));
}

Digest SqliteStatement::DigestAt(int column) {
  absl::StatusOr<Digest> digest = Digest::FromBytes(Text(column));
  if (digest.ok()) return *digest;
  if (status_.ok()) {
    status_ = absl::DataLossError(absl::StrCat("database: column ",
                                               sqlite3_column_name(statement_.get(), column),
                                               " is not a digest: ", digest.status().message()));
  }
  return Digest();
}

absl::Time SqliteStatement::Time(int column) const { return absl::FromUnixNanos(Integer(column)); }

void SqliteConnection::Close::operator()(sqlite3* db) const { sqlite3_close_v2(db); }

absl::StatusOr<SqliteConnection> SqliteConnection::Open(const std::string& path,
                                                        absl::Duration busy_timeout) {
  sqlite3* db = nullptr;
  const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
  const int code = sqlite3_open_v2(path.c_str(), &db, flags, nullptr);
  SqliteConnection connection;
  connection.db_.reset(db);
  if (code != SQLITE_OK) return WithContext(SqliteError(db, code), path);
  sqlite3_extended_result_codes(db, 1);
  sqlite3_busy_timeout(db, static_cast<int>(absl::ToInt64Milliseconds(busy_timeout)));
  TRIB_RETURN_IF_ERROR(WithContext(connection.Execute("PRAGMA journal_mode = WAL;"
                                                      "PRAGMA synchronous = FULL;"
                                                      "PRAGMA foreign_keys = ON;"),
                                   path));
  return connection;
}

absl::Status SqliteConnection::Execute(const char* sql) const {
  const int code = sqlite3_exec(db_.get(), sql, nullptr, nullptr, nullptr);
  return code == SQLITE_OK ? absl::OkStatus() : SqliteError(db_.get(), code);
}

absl::StatusOr<SqliteTransaction> SqliteTransaction::Begin(const SqliteConnection& db) {
  TRIB_RETURN_IF_ERROR(db.Execute("BEGIN IMMEDIATE"));
  return SqliteTransaction(&db);
}

SqliteTransaction::SqliteTransaction(SqliteTransaction&& other) noexcept
    : db_(std::exchange(other.db_, nullptr)) {}

SqliteTransaction::~SqliteTransaction() {
  if (db_ != nullptr) db_->Execute("ROLLBACK").IgnoreError();
}

absl::Status SqliteTransaction::Commit() {
  TRIB_RETURN_IF_ERROR(db_->Execute("COMMIT"));
  db_ = nullptr;
  return absl::OkStatus();
}

}  // namespace tributary
