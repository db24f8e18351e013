// Tensor data in and out of typed arrays.
#pragma once
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>

#include <cstring>

#include "convert.h"

namespace bridge {

struct Bytes {
  void* data;
  size_t length;
};

inline Bytes bytesOf(napi_env env, napi_value value) {
  bool typed = false;
  check(env, napi_is_typedarray(env, value, &typed));
  if (!typed) expected(env, "a typed array", value);
  napi_typedarray_type type;
  size_t length;
  void* data;
  check(env, napi_get_typedarray_info(env, value, &type, &length, &data, nullptr, nullptr));
  static constexpr size_t sizes[] = {1, 1, 1, 2, 2, 4, 4, 4, 8, 8, 8};
  if (size_t(type) >= std::size(sizes)) expected(env, "a typed array of a known element type", value);
  return {data, length * sizes[type]};
}

inline std::vector<int64_t> shapeOf(napi_env env, napi_value value) {
  std::vector<int64_t> shape;
  for (napi_value element : elementsOf(env, value, 0)) {
    shape.push_back(integerOf(env, element));
    if (shape.back() < 0) throw Refusal("E_ARGUMENT", "a negative length in the shape");
  }
  return shape;
}

inline at::ScalarType dtypeOf(napi_env env, napi_value value) {
  return at::ScalarType(namedOf(env, "a dtype", dtypes(), value));
}

inline const char* dtypeName(at::ScalarType dtype) {
  for (const auto& [name, code] : dtypes()) {
    if (code == int64_t(dtype)) return name;
  }
  return c10::toString(dtype);
}

inline void checkLength(const Bytes& bytes, const std::vector<int64_t>& shape, at::ScalarType dtype) {
  int64_t needed = static_cast<int64_t>(c10::elementSize(dtype));
  std::string text;
  bool overflow = false, empty = false;
  for (int64_t length : shape) {
    text += (text.empty() ? "" : ", ") + std::to_string(length);
    empty = empty || length == 0;
  }
  for (int64_t length : shape) overflow = overflow || __builtin_mul_overflow(needed, empty ? 0 : length, &needed);
  if (overflow || size_t(needed) != bytes.length) {
    throw Refusal("E_ARGUMENT", std::to_string(bytes.length) + " bytes of data cannot fill a " + dtypeName(dtype) +
                                    " tensor of shape [" + text + "]");
  }
}

// A view of JavaScript's memory: to be copied before the call returns.
inline at::Tensor blobOf(const Bytes& bytes, const std::vector<int64_t>& shape, at::ScalarType dtype) {
  checkLength(bytes, shape, dtype);
  if (bytes.length == 0) return at::empty(shape, at::TensorOptions(dtype));
  // Any other byte than 0 and 1 in a bool tensor is undefined behaviour: go through uint8.
  if (dtype == at::kBool) return at::from_blob(bytes.data, shape, at::TensorOptions(at::kByte)).to(at::kBool);
  return at::from_blob(bytes.data, shape, at::TensorOptions(dtype));
}

inline at::Tensor fromData(napi_env env, napi_value data, napi_value shape, napi_value dtype, napi_value device) {
  const at::Tensor blob = blobOf(bytesOf(env, data), shapeOf(env, shape), dtypeOf(env, dtype));
  return blob.to(at::TensorOptions(deviceOf(env, device)), /*non_blocking=*/false, /*copy=*/true);
}

// Copies in place, with the element type converted; not recorded by autograd.
inline void write(napi_env env, const at::Tensor& tensor, napi_value data, napi_value dtype) {
  at::NoGradGuard guard;
  const at::Tensor blob = blobOf(bytesOf(env, data), tensor.sizes().vec(), dtypeOf(env, dtype));
  tensor.copy_(blob);
}

// A typed array with the tensor's elements in row-major order; 16-bit floats as their bits (Uint16Array).
inline napi_value toTypedArray(napi_env env, const at::Tensor& tensor) {
  at::NoGradGuard guard;
  napi_typedarray_type type;
  switch (tensor.scalar_type()) {
    case at::kFloat: type = napi_float32_array; break;
    case at::kDouble: type = napi_float64_array; break;
    case at::kHalf:
    case at::kBFloat16: type = napi_uint16_array; break;
    case at::kChar: type = napi_int8_array; break;
    case at::kBool:
    case at::kByte: type = napi_uint8_array; break;
    case at::kShort: type = napi_int16_array; break;
    case at::kInt: type = napi_int32_array; break;
    case at::kLong: type = napi_bigint64_array; break;
    default: throw Refusal("E_ARGUMENT", std::string("no typed array holds ") + dtypeName(tensor.scalar_type()));
  }
  if (tensor.layout() != at::kStrided) throw Refusal("E_ARGUMENT", "only dense tensors can be read");
  const at::Tensor dense = tensor.detach().to(at::kCPU).contiguous();
  napi_value buffer, result;
  void* data = nullptr;
  check(env, napi_create_arraybuffer(env, dense.nbytes(), &data, &buffer));
  if (dense.nbytes() > 0) std::memcpy(data, dense.data_ptr(), dense.nbytes());
  check(env, napi_create_typedarray(env, type, dense.numel(), buffer, 0, &result));
  return result;
}

}  // namespace bridge
