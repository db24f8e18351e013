// The bridge from Node to libtorch: any operator of the dispatcher by name, tensors by handle. It converts and
// forwards; what is computed, and when memory is freed, is decided in src/torch. Works with libtorch 1.13 to 2.13.
#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/autocast_mode.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/variable.h>
#include <torch/version.h>

#if defined(__GLIBC__)
#include <malloc.h>

#include <climits>
#endif

#include <deque>
#include <memory>
#include <optional>
#include <unordered_map>

#include "data.h"

namespace bridge {

struct Parameter {
  std::string name;
  Type type;
  int32_t repeat;
  std::optional<c10::IValue> fallback;
};

struct Operator {
  c10::OperatorHandle handle;
  std::string name;
  std::vector<Parameter> parameters;
};

struct Addon {
  Slots slots;
  std::deque<Operator> operators;  // found ones stay where they are
  std::unordered_map<std::string, uint32_t> ids;
  Where where;
};

// A JavaScript tensor is an object whose property `handle` names a slot; a bare number is never one.
at::Tensor tensorOf(napi_env env, Addon& addon, napi_value value) {
  if (typeOf(env, value) != napi_object) expected(env, "a tensor", value);
  napi_value handle;
  check(env, napi_get_named_property(env, value, "handle", &handle));
  double number;
  if (napi_get_value_double(env, handle, &number) != napi_ok) expected(env, "a tensor", value);
  return addon.slots.get(number);
}

napi_value handleOf(napi_env env, Addon& addon, const at::Tensor& tensor) {
  napi_value result;
  if (tensor.defined()) {
    check(env, napi_create_double(env, addon.slots.add(tensor), &result));
  } else {
    check(env, napi_get_null(env, &result));
  }
  return result;
}

// The arguments of one call from JavaScript; those that were left out are undefined.
class Arguments {
 public:
  static constexpr size_t kMost = 64;
  Arguments(napi_env env, napi_callback_info info) : env(env), count(kMost) {
    void* data = nullptr;
    check(env, napi_get_cb_info(env, info, &count, values_, nullptr, nullptr));
    check(env, napi_get_instance_data(env, &data));
    addon_ = static_cast<Addon*>(data);
  }
  napi_value operator[](size_t i) const { return values_[i]; }
  Addon& addon() const { return *addon_; }
  napi_value js(const c10::IValue& value) const { return toJs(env, *addon_, value); }
  at::Tensor tensor(size_t i) const { return tensorOf(env, *addon_, values_[i]); }
  std::vector<at::Tensor> tensors(size_t i) const {
    std::vector<at::Tensor> list;
    for (napi_value value : elementsOf(env, values_[i], 0)) {
      list.push_back(isAbsent(env, value) ? at::Tensor() : tensorOf(env, *addon_, value));
    }
    return list;
  }

  const napi_env env;
  size_t count;

 private:
  napi_value values_[kMost];
  Addon* addon_ = nullptr;
};

// find('add.Tensor') -> [id, types of the results ...], or null when this libtorch has no such operator.
napi_value find(const Arguments& args) {
  const napi_env env = args.env;
  Addon& addon = args.addon();
  if (typeOf(env, args[0]) != napi_string) expected(env, "an operator's name", args[0]);
  const std::string name = textOf(env, args[0]);
  auto known = addon.ids.find(name);
  if (known == addon.ids.end()) {
    const std::string full = name.find("::") == std::string::npos ? "aten::" + name : name;
    const size_t dot = full.find('.', full.find("::"));
    const std::string overload = dot == std::string::npos ? "" : full.substr(dot + 1);
    auto handle = c10::Dispatcher::singleton().findSchema({full.substr(0, dot), overload});
    if (!handle) return args.js({});
    if (handle->schema().arguments().size() >= Arguments::kMost) throw Refusal("E_ENGINE", "too many arguments");
    Operator found{*handle, name, {}};
    for (const c10::Argument& argument : handle->schema().arguments()) {
      const auto fallback = argument.default_value();
      found.parameters.push_back({argument.name(), Type(argument.type(), argument.real_type()), argument.N() ? *argument.N() : 0,
                                  fallback ? std::optional<c10::IValue>(*fallback) : std::nullopt});
    }
    known = addon.ids.emplace(name, static_cast<uint32_t>(addon.operators.size())).first;
    addon.operators.push_back(std::move(found));
  }
  napi_value result;
  check(env, napi_create_array(env, &result));
  check(env, napi_set_element(env, result, 0, args.js(double(known->second))));
  uint32_t at = 1;
  for (const c10::Argument& argument : addon.operators[known->second].handle.schema().returns()) {
    check(env, napi_set_element(env, result, at++, args.js(argument.type()->str())));
  }
  return result;
}

c10::IValue argumentOf(const Arguments& args, const Parameter& parameter, napi_value value) {
  if (typeOf(args.env, value) == napi_undefined) {
    if (parameter.fallback) return *parameter.fallback;
    if (parameter.type.kind != c10::TypeKind::OptionalType) throw Refusal("E_ARGUMENT", "it is missing");
  }
  return toIValue(args.env, args.addon(), parameter.type, value, parameter.repeat);
}

// call(id, ...arguments): the operator's result, or an array of them; tensors as handles.
napi_value call(const Arguments& args) {
  const napi_env env = args.env;
  Addon& addon = args.addon();
  const double id = numberOf(env, args[0]);
  if (!(id >= 0 && id < double(addon.operators.size()))) throw Refusal("E_ARGUMENT", "unknown operator id");
  const Operator& op = addon.operators[static_cast<size_t>(id)];
  addon.where.op = op.name;
  if (args.count - 1 > op.parameters.size()) {
    throw Refusal("E_ARGUMENT", "takes at most " + std::to_string(op.parameters.size()) + " arguments, got " +
                                    std::to_string(args.count - 1));
  }
  c10::Stack stack;
  stack.reserve(op.parameters.size());
  for (size_t i = 0; i < op.parameters.size(); i++) {
    try {
      stack.push_back(argumentOf(args, op.parameters[i], args[i + 1]));
    } catch (...) {
      addon.where.argument = op.parameters[i].name;
      throw;
    }
  }
  op.handle.callBoxed(&stack);
  if (stack.size() == 1) return args.js(stack[0]);
  napi_value result;
  check(env, napi_create_array_with_length(env, stack.size(), &result));
  for (size_t i = 0; i < stack.size(); i++) check(env, napi_set_element(env, result, i, args.js(stack[i])));
  return result;
}

// grad(outputs, inputs, outputsGrad, retainGraph, createGraph) -> handle or null (unused) for each input.
napi_value grad(const Arguments& args) {
  const napi_env env = args.env;
  args.addon().where.op = "grad";
  const auto outputs = args.tensors(0);
  const auto inputs = args.tensors(1);
  const auto outputsGrad = isAbsent(env, args[2]) ? std::vector<at::Tensor>() : args.tensors(2);
  for (const auto* list : {&outputs, &inputs}) {
    for (const at::Tensor& tensor : *list) {
      if (!tensor.defined()) throw Refusal("E_ARGUMENT", "outputs and inputs must be tensors");
    }
  }
  if (!outputsGrad.empty() && outputsGrad.size() != outputs.size()) {
    throw Refusal("E_ARGUMENT", "one gradient is needed for each output");
  }
  const bool retain = boolOf(env, args[3]);
  const bool create = boolOf(env, args[4]);
  return args.js(torch::autograd::grad(outputs, inputs, outputsGrad, retain || create, create, true));
}

// gradMode(on) -> whether it was on.
napi_value gradMode(const Arguments& args) {
  const bool on = boolOf(args.env, args[0]);
  const bool before = at::GradMode::is_enabled();
  at::GradMode::set_enabled(on);
  return args.js(before);
}

napi_value setRequiresGrad(const Arguments& args) {
  args.tensor(0).set_requires_grad(boolOf(args.env, args[1]));
  return args.js({});
}

#if TORCH_VERSION_MAJOR > 2 || (TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR >= 4)
bool autocastOn(bool cuda) { return at::autocast::is_autocast_enabled(cuda ? at::kCUDA : at::kCPU); }
at::ScalarType autocastType(bool cuda) { return at::autocast::get_autocast_dtype(cuda ? at::kCUDA : at::kCPU); }
void setAutocast(bool cuda, bool on, at::ScalarType dtype) {
  at::autocast::set_autocast_dtype(cuda ? at::kCUDA : at::kCPU, dtype);
  at::autocast::set_autocast_enabled(cuda ? at::kCUDA : at::kCPU, on);
}
#else
bool autocastOn(bool cuda) { return cuda ? at::autocast::is_enabled() : at::autocast::is_cpu_enabled(); }
at::ScalarType autocastType(bool cuda) {
  return cuda ? at::autocast::get_autocast_gpu_dtype() : at::autocast::get_autocast_cpu_dtype();
}
void setAutocast(bool cuda, bool on, at::ScalarType dtype) {
  if (cuda) {
    at::autocast::set_autocast_gpu_dtype(dtype);
    at::autocast::set_enabled(on);
  } else {
    at::autocast::set_autocast_cpu_dtype(dtype);
    at::autocast::set_cpu_enabled(on);
  }
}
#endif

// autocast(cuda, dtype or null, entering) -> the dtype before, or null. Casts of weights are cached until the
// outermost region is left.
napi_value autocast(const Arguments& args) {
  const napi_env env = args.env;
  const bool cuda = boolOf(env, args[0]);
  const bool on = !isAbsent(env, args[1]);
  const at::ScalarType before = autocastType(cuda);
  const at::ScalarType dtype = on ? dtypeOf(env, args[1]) : before;
  const bool entering = boolOf(env, args[2]);
  const napi_value result = autocastOn(cuda) ? args.js(dtypeName(before)) : args.js({});
  if (on && dtype != at::kBFloat16 && dtype != at::kHalf) throw Refusal("E_ARGUMENT", "autocast needs a 16-bit dtype");
  setAutocast(cuda, on, dtype);
  if (entering) {
    at::autocast::increment_nesting();
  } else if (at::autocast::decrement_nesting() == 0) {
    at::autocast::clear_cache();
  }
  return result;
}

napi_value create(const Arguments& args) {
  args.addon().where.op = "tensor";
  return handleOf(args.env, args.addon(), fromData(args.env, args[0], args[1], args[2], args[3]));
}

napi_value writeData(const Arguments& args) {
  args.addon().where.op = "write";
  write(args.env, args.tensor(0), args[1], args[2]);
  return args.js({});
}

napi_value readData(const Arguments& args) { return toTypedArray(args.env, args.tensor(0)); }

napi_value shape(const Arguments& args) {
  const at::Tensor tensor = args.tensor(0);
  return args.js(tensor.sizes());
}

napi_value dtype(const Arguments& args) { return args.js(dtypeName(args.tensor(0).scalar_type())); }
napi_value device(const Arguments& args) { return args.js(args.tensor(0).device().str()); }
napi_value requiresGrad(const Arguments& args) { return args.js(args.tensor(0).requires_grad()); }
napi_value item(const Arguments& args) { return args.js(args.tensor(0).item()); }

// free(handles): those that are freed already are passed over.
napi_value freeTensors(const Arguments& args) {
  for (napi_value handle : elementsOf(args.env, args[0], 0)) args.addon().slots.remove(numberOf(args.env, handle));
  return args.js({});
}

napi_value live(const Arguments& args) { return args.js(double(args.addon().slots.live())); }

napi_value version(const Arguments& args) { return args.js(TORCH_VERSION); }
napi_value gpus(const Arguments& args) { return args.js(at::hasCUDA() ? double(at::getNumGPUs()) : 0); }
napi_value threads(const Arguments& args) { return args.js(at::get_num_threads()); }

napi_value setThreads(const Arguments& args) {
  const int64_t count = integerOf(args.env, args[0]);
  if (count < 1 || count > 4096) throw Refusal("E_ARGUMENT", "the number of threads must be from 1 to 4096");
  at::set_num_threads(static_cast<int>(count));
  return args.js({});
}

napi_value seed(const Arguments& args) {
  at::manual_seed(static_cast<uint64_t>(integerOf(args.env, args[0])));
  return args.js({});
}

template <napi_value (*body)(const Arguments&)>
napi_value entry(napi_env env, napi_callback_info info) {
  void* data = nullptr;
  Where unknown;
  const bool ready = napi_get_instance_data(env, &data) == napi_ok && data;
  Where& where = ready ? static_cast<Addon*>(data)->where : unknown;
  return guarded(env, where, [&] { return body(Arguments(env, info)); });
}

napi_value start(napi_env env, napi_value exports) {
#if defined(__GLIBC__)
  // Large temporaries are otherwise mapped and faulted in afresh for every operator: 3 to 8 times slower.
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, INT_MAX);
#endif
  Where where;
  return guarded(env, where, [&] {
    auto addon = std::make_unique<Addon>();
    check(env, napi_set_instance_data(env, addon.release(), [](napi_env, void* data, void*) {
            delete static_cast<Addon*>(data);
          }, nullptr));
    const napi_property_descriptor entries[] = {
#define ENTRY(name, body) {name, nullptr, entry<body>, nullptr, nullptr, nullptr, napi_enumerable, nullptr}
        ENTRY("find", find),         ENTRY("call", call),
        ENTRY("grad", grad),         ENTRY("gradMode", gradMode),
        ENTRY("setRequiresGrad", setRequiresGrad), ENTRY("autocast", autocast),
        ENTRY("create", create),     ENTRY("write", writeData),
        ENTRY("read", readData),     ENTRY("shape", shape),
        ENTRY("dtype", dtype),       ENTRY("device", device),
        ENTRY("requiresGrad", requiresGrad), ENTRY("item", item),
        ENTRY("free", freeTensors),  ENTRY("live", live),
        ENTRY("version", version),   ENTRY("gpus", gpus),
        ENTRY("threads", threads),   ENTRY("setThreads", setThreads),
        ENTRY("seed", seed)};
#undef ENTRY
    check(env, napi_define_properties(env, exports, std::size(entries), entries));
    return exports;
  });
}

}  // namespace bridge

NAPI_MODULE_INIT() { return bridge::start(env, exports); }
