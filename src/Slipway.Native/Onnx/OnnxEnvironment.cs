namespace Slipway.Native.Onnx;

/// <summary>The one environment of the process. It logs nothing and reports nothing.</summary>
public static unsafe class OnnxEnvironment
{
    private const int LogFatal = 4;

    private static readonly Lazy<(nint Environment, nint CpuMemory, nint Allocator)> Instance = new(Create);

    /// <summary>Version of the loaded runtime, for example <c>1.30.0</c>.</summary>
    public static string RuntimeVersion => OnnxApi.RuntimeVersion;

    internal static nint Handle => Instance.Value.Environment;

    internal static nint CpuMemory => Instance.Value.CpuMemory;

    internal static nint Allocator => Instance.Value.Allocator;

    // Never released: sessions may live until the process ends.
    private static (nint Environment, nint CpuMemory, nint Allocator) Create()
    {
        nint environment, memory, allocator;
        fixed (byte* name = "slipway\0"u8)
        {
            OnnxApi.Check(OnnxApi.CreateEnv(LogFatal, name, &environment));
        }

        OnnxApi.Check(OnnxApi.DisableTelemetryEvents(environment));
        OnnxApi.Check(OnnxApi.CreateCpuMemoryInfo(1, 0, &memory)); // OrtArenaAllocator, OrtMemTypeDefault.
        OnnxApi.Check(OnnxApi.GetAllocatorWithDefaultOptions(&allocator));
        return (environment, memory, allocator);
    }
}
