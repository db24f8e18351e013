// JavaScript values to libtorch's and back, led by an operator's schema.
#pragma once
#include <ATen/core/List.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/ivalue.h>
#include <ATen/core/jit_type.h>

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "slots.h"

namespace bridge {

// State of one JavaScript environment (a worker thread has its own).
struct Addon;
at::Tensor tensorOf(napi_env env, Addon& addon, napi_value value);
napi_value handleOf(napi_env env, Addon& addon, const at::Tensor& tensor);

inline napi_valuetype typeOf(napi_env env, napi_value value) {
  napi_valuetype type;
  check(env, napi_typeof(env, value, &type));
  return type;
}

inline std::string textOf(napi_env env, napi_value value) {
  size_t length = 0;
  check(env, napi_get_value_string_utf8(env, value, nullptr, 0, &length));
  std::string text(length, '\0');
  check(env, napi_get_value_string_utf8(env, value, text.data(), length + 1, &length));
  return text;
}

// "a number (3)", for messages.
inline std::string describe(napi_env env, napi_value value) {
  bool array = false;
  napi_is_array(env, value, &array);
  if (array) return "an array";
  static const char* const kinds[] = {"undefined", "null",     "a boolean", "a number", "a string",
                                      "a symbol",  "an object", "a function", "an external", "a bigint"};
  const napi_valuetype type = typeOf(env, value);
  std::string text = kinds[type];
  if (type == napi_number || type == napi_string || type == napi_boolean) {
    napi_value asText;
    if (napi_coerce_to_string(env, value, &asText) == napi_ok) text += " (" + textOf(env, asText).substr(0, 40) + ")";
  }
  return text;
}

[[noreturn]] inline void expected(napi_env env, const char* what, napi_value value) {
  throw Refusal("E_ARGUMENT", std::string("expected ") + what + ", got " + describe(env, value));
}

// libtorch's enumerations by name. Their numbers are taken too, but no others: libtorch does not check them.
using Names = std::vector<std::pair<const char*, int64_t>>;

inline const Names& dtypes() {
  static const Names names = {
      {"float32", int64_t(at::kFloat)},     {"float64", int64_t(at::kDouble)}, {"float16", int64_t(at::kHalf)},
      {"bfloat16", int64_t(at::kBFloat16)}, {"int8", int64_t(at::kChar)},      {"uint8", int64_t(at::kByte)},
      {"int16", int64_t(at::kShort)},       {"int32", int64_t(at::kInt)},      {"int64", int64_t(at::kLong)},
      {"bool", int64_t(at::kBool)}};
  return names;
}

inline const Names& memoryFormats() {
  static const Names names = {{"contiguous", int64_t(at::MemoryFormat::Contiguous)},
                              {"preserve", int64_t(at::MemoryFormat::Preserve)},
                              {"channels_last", int64_t(at::MemoryFormat::ChannelsLast)},
                              {"channels_last_3d", int64_t(at::MemoryFormat::ChannelsLast3d)}};
  return names;
}

inline const Names& layouts() {
  static const Names names = {{"strided", int64_t(at::kStrided)}};
  return names;
}

inline int64_t namedOf(napi_env env, const char* what, const Names& names, napi_value value) {
  double number;
  const bool isNumber = napi_get_value_double(env, value, &number) == napi_ok;
  const std::string name = typeOf(env, value) == napi_string ? textOf(env, value) : "";
  for (const auto& [known, code] : names) {
    if (name == known || (isNumber && number == double(code))) return code;
  }
  expected(env, what, value);
}

inline bool boolOf(napi_env env, napi_value value) {
  bool result;
  if (napi_get_value_bool(env, value, &result) != napi_ok) expected(env, "true or false", value);
  return result;
}

inline double numberOf(napi_env env, napi_value value) {
  double number;
  if (napi_get_value_double(env, value, &number) != napi_ok) expected(env, "a number", value);
  return number;
}

inline bool isWhole(double number) { return std::trunc(number) == number && std::fabs(number) <= 9007199254740992.0; }

inline int64_t bigintOf(napi_env env, napi_value value) {
  int64_t number;
  bool lossless = false;
  check(env, napi_get_value_bigint_int64(env, value, &number, &lossless));
  if (!lossless) throw Refusal("E_ARGUMENT", "the bigint does not fit 64 bits");
  return number;
}

inline int64_t integerOf(napi_env env, napi_value value) {
  double number;
  if (napi_get_value_double(env, value, &number) == napi_ok) {
    if (!isWhole(number)) expected(env, "an integer", value);
    return static_cast<int64_t>(number);
  }
  if (typeOf(env, value) == napi_bigint) return bigintOf(env, value);
  expected(env, "an integer", value);
}

// A whole number becomes an integer, so that `add(int tensor, 1)` stays an integer tensor; -0 stays a double.
inline at::Scalar scalarOf(napi_env env, napi_value value) {
  double number;
  if (napi_get_value_double(env, value, &number) == napi_ok) {
    if (isWhole(number) && !(number == 0 && std::signbit(number))) return at::Scalar(static_cast<int64_t>(number));
    return at::Scalar(number);
  }
  const napi_valuetype type = typeOf(env, value);
  if (type == napi_boolean) return at::Scalar(boolOf(env, value));
  if (type == napi_bigint) return at::Scalar(bigintOf(env, value));
  expected(env, "a number", value);
}

inline at::Device deviceOf(napi_env env, napi_value value) {
  if (typeOf(env, value) != napi_string) expected(env, "a device such as 'cpu' or 'cuda:0'", value);
  return at::Device(textOf(env, value));
}

inline bool isAbsent(napi_env env, napi_value value) {
  const napi_valuetype type = typeOf(env, value);
  return type == napi_null || type == napi_undefined;
}

// The values of an array; a single value stands for `repeat` of them where the schema allows it (int[2]).
inline std::vector<napi_value> elementsOf(napi_env env, napi_value value, int32_t repeat) {
  bool array = false;
  check(env, napi_is_array(env, value, &array));
  std::vector<napi_value> elements;
  if (!array) {
    if (repeat <= 0) expected(env, "an array", value);
    elements.assign(repeat, value);
    return elements;
  }
  uint32_t length;
  check(env, napi_get_array_length(env, value, &length));
  elements.resize(length);
  for (uint32_t i = 0; i < length; i++) check(env, napi_get_element(env, value, i, &elements[i]));
  return elements;
}

// The types of a schema that JavaScript can pass, worked out once per operator.
struct Type {
  c10::TypeKind kind;
  c10::TypeKind real;  // tells a dtype, a layout or a memory format from an integer
  c10::TypePtr type;
  std::vector<Type> inner;  // the element of a list or of an optional

  Type(const c10::TypePtr& from, const c10::TypePtr& real) : kind(from->kind()), real(real->kind()), type(from) {
    if (kind == c10::TypeKind::OptionalType) inner.push_back(innerOf<c10::OptionalType>(from, real));
    if (kind == c10::TypeKind::ListType) inner.push_back(innerOf<c10::ListType>(from, real));
  }

 private:
  template <typename Outer>
  static Type innerOf(const c10::TypePtr& from, const c10::TypePtr& real) {
    const auto element = from->castRaw<Outer>()->getElementType();
    return Type(element, real->kind() == from->kind() ? real->castRaw<Outer>()->getElementType() : element);
  }
};

inline int64_t integerOf(napi_env env, const Type& type, napi_value value) {
  switch (type.real) {
    case c10::TypeKind::ScalarTypeType: return namedOf(env, "a dtype", dtypes(), value);
    case c10::TypeKind::MemoryFormatType: return namedOf(env, "a memory format", memoryFormats(), value);
    case c10::TypeKind::LayoutType: return namedOf(env, "a layout", layouts(), value);
    default: return integerOf(env, value);
  }
}

template <typename T, typename Convert>
c10::IValue listOf(const std::vector<napi_value>& elements, Convert&& convert) {
  c10::List<T> list;
  list.reserve(elements.size());
  for (napi_value element : elements) list.push_back(convert(element));
  return c10::IValue(std::move(list));
}

inline c10::IValue toIValue(napi_env env, Addon& addon, const Type& type, napi_value value, int32_t repeat) {
  switch (type.kind) {
    case c10::TypeKind::TensorType: return tensorOf(env, addon, value);
    case c10::TypeKind::OptionalType:
      return isAbsent(env, value) ? c10::IValue() : toIValue(env, addon, type.inner[0], value, repeat);
    case c10::TypeKind::IntType: return integerOf(env, type, value);
    case c10::TypeKind::FloatType: return numberOf(env, value);
    case c10::TypeKind::BoolType: return boolOf(env, value);
    case c10::TypeKind::NumberType: return scalarOf(env, value);
    case c10::TypeKind::StringType:
      if (typeOf(env, value) != napi_string) expected(env, "a string", value);
      return textOf(env, value);
    case c10::TypeKind::DeviceObjType: return deviceOf(env, value);
    case c10::TypeKind::ListType: {
      const std::vector<napi_value> elements = elementsOf(env, value, repeat);
      switch (type.inner[0].kind) {
        case c10::TypeKind::IntType:
          return listOf<int64_t>(elements, [&](napi_value v) { return integerOf(env, type.inner[0], v); });
        case c10::TypeKind::FloatType:
          return listOf<double>(elements, [&](napi_value v) { return numberOf(env, v); });
        case c10::TypeKind::BoolType: return listOf<bool>(elements, [&](napi_value v) { return boolOf(env, v); });
        case c10::TypeKind::TensorType:
          return listOf<at::Tensor>(elements, [&](napi_value v) { return tensorOf(env, addon, v); });
        default: {
          c10::impl::GenericList list(type.inner[0].type);
          for (napi_value element : elements) list.push_back(toIValue(env, addon, type.inner[0], element, 0));
          return c10::IValue(std::move(list));
        }
      }
    }
    default:
      throw Refusal("E_ARGUMENT", "a value of type " + type.type->str() + " cannot be passed; leave it out or give null");
  }
}

inline napi_value toJs(napi_env env, Addon& addon, const c10::IValue& value) {
  napi_value result;
  if (value.isTensor()) return handleOf(env, addon, value.toTensor());
  if (value.isNone()) {
    check(env, napi_get_null(env, &result));
  } else if (value.isBool()) {
    check(env, napi_get_boolean(env, value.toBool(), &result));
  } else if (value.isInt()) {
    check(env, napi_create_int64(env, value.toInt(), &result));
  } else if (value.isDouble()) {
    check(env, napi_create_double(env, value.toDouble(), &result));
  } else if (value.isString()) {
    return string(env, value.toStringRef());
  } else if (value.isScalar()) {
    const at::Scalar scalar = value.toScalar();
    if (scalar.isComplex()) throw Refusal("E_ARGUMENT", "complex numbers are not supported");
    check(env, napi_create_double(env, scalar.to<double>(), &result));
  } else if (value.isList()) {
    const auto list = value.toList();
    check(env, napi_create_array_with_length(env, list.size(), &result));
    for (size_t i = 0; i < list.size(); i++) check(env, napi_set_element(env, result, i, toJs(env, addon, list.get(i))));
  } else {
    throw Refusal("E_ENGINE", "a result of type " + value.tagKind() + " cannot be returned");
  }
  return result;
}

}  // namespace bridge
