// SqliteConnection: the little of SQLite's C interface that the store needs, with Status.
//
//   SqliteStatement insert = db.Prepare("INSERT INTO journal VALUES (?, ?, ?)");
//   insert.Bind(job.value()).Bind(sequence).Bind(line);
//   TRIB_RETURN_IF_ERROR(insert.Run());
//
//   SqliteStatement query = db.Prepare("SELECT line FROM journal WHERE job_id = ?");
//   query.Bind(job.value());
//   while (query.Next()) lines.push_back(query.Text(0));
//   TRIB_RETURN_IF_ERROR(query.status());
//
// SQL is always a constant: values travel through Bind.
#ifndef TRIBUTARY_SERVER_STORE_SQLITE_CONNECTION_H_
#define TRIBUTARY_SERVER_STORE_SQLITE_CONNECTION_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/digest.h"

struct sqlite3;
struct sqlite3_stmt;

namespace tributary {

// An error of any step sticks in status(), and later steps do nothing. Thread-compatible;
// must not outlive its connection.
class SqliteStatement {
 public:
  SqliteStatement(SqliteStatement&&) noexcept = default;

  // The next parameter, from the left. A NaN is stored as NULL.
  SqliteStatement& Bind(int64_t value);
  SqliteStatement& Bind(double value);
  SqliteStatement& Bind(const std::string& value);
  SqliteStatement& Bind(const Digest& value);
  SqliteStatement& Bind(absl::Time value);
  SqliteStatement& BindNull();

  // Executes it to its end and makes it ready for new parameters.
  absl::Status Run();
  // Steps to the next row; false at the end and on an error.
  bool Next();
  const absl::Status& status() const { return status_; }

  // Columns of the current row, from 0. DataLoss sticks if a digest is not one.
  bool IsNull(int column) const;
  int64_t Integer(int column) const;
  double Real(int column) const;  // NULL reads as NaN
  std::string Text(int column) const;
  Digest DigestAt(int column);
  absl::Time Time(int column) const;

 private:
  friend class SqliteConnection;
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const;
  };
  SqliteStatement(sqlite3* db, const char* sql);
  SqliteStatement& Check(int code);

  sqlite3* db_;
  std::unique_ptr<sqlite3_stmt, Finalize> statement_;
  int bound_ = 0;
  bool done_ = false;
  absl::Status status_;
};

// One connection in WAL mode with synchronous=FULL and foreign keys. Thread-compatible.
class SqliteConnection {
 public:
  // Creates the file if it is not there. DataLoss: not a database, or damaged.
  static absl::StatusOr<SqliteConnection> Open(const std::string& path,
                                               absl::Duration busy_timeout);

  SqliteStatement Prepare(const char* sql) const { return SqliteStatement(db_.get(), sql); }
  absl::Status Execute(const char* sql) const;  // several statements without results

 private:
  struct Close {
    void operator()(sqlite3* db) const;
  };
  std::unique_ptr<sqlite3, Close> db_;
};

// BEGIN IMMEDIATE … COMMIT, or ROLLBACK if it was not committed at the end.
class SqliteTransaction {
 public:
  static absl::StatusOr<SqliteTransaction> Begin(const SqliteConnection& db);
  SqliteTransaction(SqliteTransaction&& other) noexcept;
  ~SqliteTransaction();

  absl::Status Commit();  // durable when it returns OK

 private:
  explicit SqliteTransaction(const SqliteConnection* db) : db_(db) {}
  const SqliteConnection* db_;  // null: nothing to roll back
};

}  // namespace tributary

#endif  // TRIBUTARY_SERVER_STORE_SQLITE_CONNECTION_H_
