// What can go wrong, and the one guard that turns it into a JavaScript error.
#pragma once
#include <c10/util/Exception.h>
#include <node_api.h>

#include <exception>
#include <new>
#include <stdexcept>
#include <string>

namespace bridge {

// A mistake found by the bridge itself, before libtorch is asked.
struct Refusal : std::runtime_error {
  Refusal(const char* code, const std::string& message) : std::runtime_error(message), code(code) {}
  const char* code;
};

// A Node-API call failed; a JavaScript exception may be pending already.
struct NapiFailure : std::runtime_error {
  using std::runtime_error::runtime_error;
};

inline void check(napi_env env, napi_status status) {
  if (status == napi_ok) return;
  const napi_extended_error_info* info = nullptr;
  napi_get_last_error_info(env, &info);
  throw NapiFailure(info && info->error_message ? info->error_message : "Node-API failure");
}

// Which operator and which of its arguments is being worked on; errors carry both.
struct Where {
  std::string op;
  std::string argument;
};

inline napi_value string(napi_env env, const std::string& text) {
  napi_value value;
  check(env, napi_create_string_utf8(env, text.data(), text.size(), &value));
  return value;
}

inline bool isOutOfMemory(const std::string& message) {
  for (const char* sign : {"can't allocate memory", "out of memory", "not enough memory", "std::bad_alloc"}) {
    if (message.find(sign) != std::string::npos) return true;
  }
  return false;
}

inline void throwJs(napi_env env, const Where& where, const char* code, std::string message) {
  message = message.substr(0, message.find('\n'));
  if (isOutOfMemory(message)) code = "E_OUT_OF_MEMORY";
  std::string place = where.op;
  if (!where.argument.empty()) place += (place.empty() ? "" : ", ") + ("argument '" + where.argument + "'");
  napi_value error;
  const std::string text = place.empty() ? message : place + ": " + message;
  if (napi_create_error(env, string(env, code), string(env, text), &error) != napi_ok) return;
  if (!where.op.empty()) napi_set_named_property(env, error, "operator", string(env, where.op));
  if (!where.argument.empty()) napi_set_named_property(env, error, "argument", string(env, where.argument));
  napi_throw(env, error);
}

// Runs an entry point; every C++ exception becomes a JavaScript error (first line, no backtrace).
template <typename Body>
napi_value guarded(napi_env env, Where& where, Body&& body) {
  const char* code = "E_ENGINE";
  std::string message;
  try {
    where.op.clear();
    where.argument.clear();
    return body();
  } catch (const NapiFailure& failure) {
    bool pending = false;
    napi_is_exception_pending(env, &pending);
    if (pending) return nullptr;
    message = failure.what();
  } catch (const Refusal& refusal) {
    code = refusal.code;
    message = refusal.what();
  } catch (const c10::Error& error) {
    message = error.what_without_backtrace();
  } catch (const std::bad_alloc&) {
    code = "E_OUT_OF_MEMORY";
    message = "out of memory";
  } catch (const std::exception& error) {
    message = error.what();
  } catch (...) {
    message = "an unknown C++ exception";
  }
  try {
    throwJs(env, where, code, message);
  } catch (...) {
    napi_throw_error(env, code, "an error that could not be described");
  }
  return nullptr;
}

}  // namespace bridge
