import CCet
import Cet

@implementation @_cdecl("cet_version_number")
public func cet_version_number() -> UInt32 { 100 }
