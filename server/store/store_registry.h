// The table of stores: "memory", and "sqlite" with the option `path`. See common/registry.h
// for what an entry needs.
#ifndef TRIBUTARY_SERVER_STORE_STORE_REGISTRY_H_
#define TRIBUTARY_SERVER_STORE_STORE_REGISTRY_H_

#include "common/registry.h"
#include "server/store/model_store.h"

namespace tributary {

const Registry<ModelStore>& StoreRegistry();

}  // namespace tributary

#endif  // TRIBUTARY_SERVER_STORE_STORE_REGISTRY_H_
