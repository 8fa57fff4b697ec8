// A device for torch that computes on the host. Operations that have no function of their own here are torch's for the
// host, on copies, as long as all their tensors are of this device.

#include <ATen/EmptyTensor.h>
#include <ATen/detail/PrivateUse1HooksInterface.h>
#include <ATen/native/CPUFallback.h>
#include <c10/core/Allocator.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <torch/extension.h>

#include <optional>
#include <set>
#include <string>
#include <tuple>

namespace {

using at::Tensor;
using c10::Device;
using c10::DeviceIndex;
using c10::Stream;
using c10::SymInt;
using c10::SymIntArrayRef;
using MaybeTensor = std::optional<Tensor>;

constexpr auto kStandIn = c10::DeviceType::PrivateUse1;
const auto kKeys = c10::DispatchKeySet(c10::DispatchKey::PrivateUse1);
const Device kTheOne(kStandIn, 0);

void release(void* memory) { free(memory); }

struct Memory final : c10::Allocator {
  c10::DataPtr allocate(size_t bytes) override {
    void* memory = bytes ? aligned_alloc(64, (bytes + 63) / 64 * 64) : nullptr;
    return {memory, memory, &release, kTheOne};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &release; }
  void copy_data(void* to, const void* from, std::size_t bytes) const override { memcpy(to, from, bytes); }
};

Memory memory;
REGISTER_ALLOCATOR(kStandIn, &memory)

void enlarge(c10::StorageImpl* storage, size_t bytes) {
  auto larger = memory.allocate(bytes);
  if (storage->data()) memcpy(larger.get(), storage->data(), std::min(bytes, storage->nbytes()));
  storage->set_data_ptr_noswap(std::move(larger));
  storage->set_nbytes(bytes);
}

// One device, one stream, nothing that is not done at once.
struct Guard final : c10::impl::DeviceGuardImplInterface {
  c10::DeviceType type() const override { return kStandIn; }
  Device exchangeDevice(Device) const override { return kTheOne; }
  Device getDevice() const override { return kTheOne; }
  void setDevice(Device) const override {}
  void uncheckedSetDevice(Device) const noexcept override {}
  Stream getStream(Device) const override { return Stream(Stream::DEFAULT, kTheOne); }
  Stream getNewStream(Device, int) const override { return Stream(Stream::DEFAULT, kTheOne); }
  Stream exchangeStream(Stream) const override { return Stream(Stream::DEFAULT, kTheOne); }
  DeviceIndex deviceCount() const noexcept override { return 1; }
  void record(void**, const Stream&, const DeviceIndex, const c10::EventFlag) const override {}
  void block(void*, const Stream&) const override {}
  bool queryEvent(void*) const override { return true; }
  void destroyEvent(void*, const DeviceIndex) const noexcept override {}
  bool queryStream(const Stream&) const override { return true; }
  void synchronizeStream(const Stream&) const override {}
};

C10_REGISTER_GUARD_IMPL(PrivateUse1, Guard)

struct Hooks final : at::PrivateUse1HooksInterface {
  bool hasPrimaryContext(DeviceIndex) const override { return true; }
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  DeviceIndex deviceCount() const override { return 1; }
  void resizePrivateUse1Bytes(const c10::Storage& storage, size_t bytes) const override {
    enlarge(storage.unsafeGetStorageImpl(), bytes);
  }
};

// The same memory, seen from the host.
Tensor seen(const Tensor& tensor) {
  if (tensor.device() != kTheOne) return tensor;
  const auto options = at::TensorOptions().dtype(tensor.scalar_type()).device(at::kCPU);
  auto keep = [tensor](void*) {};
  return at::from_blob(const_cast<void*>(tensor.const_data_ptr()), tensor.sizes(), tensor.strides(), keep, options);
}

MaybeTensor seen(const MaybeTensor& tensor) {
  return tensor && tensor->defined() ? MaybeTensor(seen(*tensor)) : std::nullopt;
}

Tensor moved(const Tensor& tensor) {
  if (!tensor.defined()) return tensor;
  auto there = at::empty_strided(tensor.sizes(), tensor.strides(), tensor.options().device(kTheOne));
  seen(there).copy_(tensor);
  return there;
}

void check_here(const char* operation, std::initializer_list<MaybeTensor> tensors) {
  for (const auto& tensor : tensors)
    TORCH_CHECK(!tensor || !tensor->defined() || tensor->device() == kTheOne, operation, ": tensors of two devices");
}

Tensor empty(SymIntArrayRef sizes, std::optional<at::ScalarType> dtype, std::optional<at::Layout>,
             std::optional<Device>, std::optional<bool>, std::optional<at::MemoryFormat> format) {
  return at::detail::empty_generic(C10_AS_INTARRAYREF_SLOW(sizes), &memory, kKeys, c10::dtype_or_default(dtype), format);
}

Tensor empty_strided(SymIntArrayRef sizes, SymIntArrayRef strides, std::optional<at::ScalarType> dtype,
                     std::optional<at::Layout>, std::optional<Device>, std::optional<bool>) {
  return at::detail::empty_strided_generic(C10_AS_INTARRAYREF_SLOW(sizes), C10_AS_INTARRAYREF_SLOW(strides), &memory,
                                           kKeys, c10::dtype_or_default(dtype));
}

Tensor copy_from(const Tensor& from, const Tensor& to, bool) {
  seen(to).copy_(seen(from));
  return to;
}

Tensor copy_from_and_resize(const Tensor& from, const Tensor& to) {
  to.resize_(from.sizes());
  return copy_from(from, to, false);
}

at::Scalar local_scalar(const Tensor& tensor) { return seen(tensor).item(); }

Tensor as_strided(const Tensor& tensor, at::IntArrayRef sizes, at::IntArrayRef strides, std::optional<int64_t> offset) {
  return at::native::as_strided_tensorimpl(tensor, sizes, strides, offset);
}

Tensor view(const Tensor& tensor, SymIntArrayRef sizes) {
  return at::native::view(tensor, C10_AS_INTARRAYREF_SLOW(sizes));
}

Tensor reshape_alias(const Tensor& tensor, SymIntArrayRef sizes, SymIntArrayRef strides) {
  return at::native::_reshape_alias(tensor, C10_AS_INTARRAYREF_SLOW(sizes), C10_AS_INTARRAYREF_SLOW(strides));
}

const Tensor& resize(const Tensor& tensor, SymIntArrayRef sizes, std::optional<at::MemoryFormat>) {
  auto* impl = tensor.unsafeGetTensorImpl();
  impl->set_sizes_contiguous(C10_AS_INTARRAYREF_SLOW(sizes));
  const size_t bytes = (impl->numel() + impl->storage_offset()) * impl->itemsize();
  if (tensor.storage().nbytes() < bytes) enlarge(tensor.storage().unsafeGetStorageImpl(), bytes);
  return tensor;
}

// Its schema does not say that it writes the running statistics, so the copies would keep what is new.
std::tuple<Tensor, Tensor, Tensor> batch_norm(const Tensor& input, const MaybeTensor& weight, const MaybeTensor& bias,
                                              const MaybeTensor& mean, const MaybeTensor& variance, bool training,
                                              double momentum, double epsilon) {
  check_here("batch_norm", {input, weight, bias, mean, variance});
  auto [output, saved_mean, saved_scale] = at::native_batch_norm(
      seen(input), seen(weight), seen(bias), seen(mean), seen(variance), training, momentum, epsilon);
  return {moved(output), moved(saved_mean), moved(saved_scale)};
}

Tensor convolution(const Tensor& input, const Tensor& weight, const MaybeTensor& bias, SymIntArrayRef stride,
                   SymIntArrayRef padding, SymIntArrayRef dilation, bool transposed, SymIntArrayRef output_padding,
                   SymInt groups) {
  check_here("convolution", {input, weight, bias});
  return moved(at::convolution_symint(seen(input), seen(weight), seen(bias), stride, padding, dilation, transposed,
                                      output_padding, groups));
}

std::tuple<Tensor, Tensor, Tensor> convolution_backward(const Tensor& gradient, const Tensor& input,
                                                        const Tensor& weight, SymIntArrayRef stride,
                                                        SymIntArrayRef padding, SymIntArrayRef dilation,
                                                        bool transposed, SymIntArrayRef output_padding, SymInt groups,
                                                        std::array<bool, 3> wanted) {
  check_here("convolution_backward", {gradient, input, weight});
  const std::vector<SymInt> sizes{transposed ? weight.sym_size(1) * groups : weight.sym_size(0)};
  const auto bias = wanted[2] ? at::OptionalSymIntArrayRef(sizes) : at::OptionalSymIntArrayRef();
  auto [of_input, of_weight, of_bias] =
      at::convolution_backward_symint(seen(gradient), seen(input), seen(weight), bias, stride, padding, dilation,
                                      transposed, output_padding, groups, wanted);
  return {moved(of_input), moved(of_weight), moved(of_bias)};
}

void on_the_host(const c10::OperatorHandle& operation, torch::jit::Stack* stack) {
  // Indices may lie on the host, on a GPU too; and so may numbers.
  static const std::set<std::string> mixes{"aten::index.Tensor", "aten::index_put_", "aten::_index_put_impl_"};
  bool here = false, elsewhere = false;
  auto look = [&](const Tensor& tensor) {
    if (!tensor.defined()) return;
    here |= tensor.device() == kTheOne;
    elsewhere |= tensor.device() != kTheOne && tensor.dim() > 0;
  };
  for (const auto& argument : torch::jit::last(*stack, operation.schema().arguments().size())) {
    if (argument.isTensor()) look(argument.toTensor());
    if (argument.isTensorList())
      for (const Tensor& tensor : argument.toTensorList()) look(tensor);
  }
  const auto name = toString(operation.schema().operator_name());
  TORCH_CHECK(!(here && elsewhere) || mixes.count(name), name, ": tensors of two devices");
  at::native::cpu_fallback(operation, stack);
}

Hooks hooks;

}  // namespace

TORCH_LIBRARY_IMPL(_, PrivateUse1, m) { m.fallback(torch::CppFunction::makeFromBoxedFunction<&on_the_host>()); }

TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) {
  m.impl("empty.memory_format", empty);
  m.impl("empty_strided", empty_strided);
  m.impl("_copy_from", copy_from);
  m.impl("_copy_from_and_resize", copy_from_and_resize);
  m.impl("_local_scalar_dense", local_scalar);
  m.impl("as_strided", as_strided);
  m.impl("view", view);
  m.impl("_reshape_alias", reshape_alias);
  m.impl("resize_", resize);
  m.impl("native_batch_norm", batch_norm);
  m.impl("convolution_overrideable", convolution);
  m.impl("convolution_backward_overrideable", convolution_backward);
}

PYBIND11_MODULE(TORCH_EXTENSION_NAME, m) {
  m.def("start", [] { at::RegisterPrivateUse1HooksInterface(&hooks); });
}
