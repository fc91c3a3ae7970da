import CCet
import Cet
import CetTensor

@implementation @_cdecl("cet_plan_activation_count")
public func cet_plan_activation_count(_ plan: OpaquePointer?) -> Int {
  boundary(counting: { try Handle.get(plan, as: PlanObject.self).activations.count })
}

@implementation @_cdecl("cet_plan_get_activation")
public func cet_plan_get_activation(
  _ plan: OpaquePointer?, _ index: Int, _ info: UnsafeMutablePointer<cet_plan_activation>?
) -> cet_status {
  boundary {
    let activations = try Handle.get(plan, as: PlanObject.self).activations
    try SizedStruct.write(element(activations, index, "activation"), to: info, "cet_plan_activation")
  }
}

extension cet_plan_activation {
  init(_ activation: PlannedActivation, _ memory: BorrowedMemory) throws(CetError) {
    self.init()
    name = UnsafePointer(try memory.string(activation.name))
    bits = Int32(activation.bits)
    elements = UInt64(activation.elements)
    scale = activation.choice?.grid.scale ?? .nan
    zero_point = Int32(activation.choice?.grid.zeroPoint ?? 0)
    range = activation.choice?.range.number ?? 0
    reason = UnsafePointer(try memory.string(activation.reason))
    predicted_loss_change = activation.predictedLossChange ?? .nan
    measured_loss = activation.isRounded ? activation.choice?.measuredLoss ?? .nan : 0
    curvature_loss = activation.isRounded ? activation.choice?.curvatureLoss ?? .nan : 0
    withUnsafeMutableBytes(of: &sensitivity) { bytes in
      let values = bytes.bindMemory(to: Double.self)
      for bits in values.indices { values[bits] = activation.choices[bits]?.sensitivity ?? .nan }
    }
  }
}

extension ActivationOptions {
  /// nil where no activation is to be rounded.
  init?(_ c: cet_plan_options) throws(CetError) {
    guard c.activation_bits != 0 else {
      guard c.activation_range == 0, c.activation_loss == 0, c.activation_mean_bits == 0 else {
        throw invalid("options of activations need activation_bits, found 0")
      }
      return nil
    }
    let widths = (1..<32).filter { c.activation_bits >> UInt32($0) & 1 == 1 }
    self.init(bits: widths + (c.activation_bits & UInt32(CET_FLOAT_BITS) != 0 ? [PlannedTensor.keptBits] : []))
    range = try activationRange(c.activation_range) ?? range
    maximumLoss = c.activation_loss == 0 ? nil : c.activation_loss
    meanBits = c.activation_mean_bits == 0 ? nil : c.activation_mean_bits
  }
}
