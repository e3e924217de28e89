#include "server/store/store_registry.h"

#include "server/store/memory_store.h"
#include "server/store/sqlite_store.h"

namespace tributary {

const Registry<ModelStore>& StoreRegistry() {
  using R = Registry<ModelStore>;
  static const R* const registry = new R(
      "store", {
                   R::Of<MemoryStore>("memory", "keeps everything in memory; gone at the end"),
                   R::Of<SqliteStore>("sqlite", "a SQLite database and parameter files in `path`"),
               });
  return *registry;
}

}  // namespace tributary
