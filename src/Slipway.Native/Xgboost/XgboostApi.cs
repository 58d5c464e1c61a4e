using System.Runtime.InteropServices;

namespace Slipway.Native.Xgboost;

/// <summary>Imports of XGBoost's C API, present since 1.6. https://xgboost.readthedocs.io/en/stable/c.html</summary>
internal static unsafe partial class XgboostApi
{
    private const string Library = NativeLibraries.Xgboost;

    static XgboostApi() => NativeLibraries.Register();

    [LibraryImport(Library)]
    internal static partial void XGBoostVersion(out int major, out int minor, out int patch);

    [LibraryImport(Library)]
    internal static partial nint XGBGetLastError();

    // Data.
    [LibraryImport(Library)]
    internal static partial int XGDMatrixCreateFromMat_omp(float* data, ulong rows, ulong columns, float missing, out nint matrix, int threads);

    [LibraryImport(Library, StringMarshalling = StringMarshalling.Utf8)]
    internal static partial int XGDMatrixSetFloatInfo(XgboostMatrixHandle matrix, string field, float* values, ulong length);

    [LibraryImport(Library)]
    internal static partial int XGDMatrixFree(nint matrix);

    // Boosters.
    [LibraryImport(Library)]
    internal static partial int XGBoosterCreate(nint* matrices, ulong length, out nint booster);

    [LibraryImport(Library)]
    internal static partial int XGBoosterFree(nint booster);

    [LibraryImport(Library)]
    internal static partial int XGBoosterSlice(XgboostBoosterHandle booster, int begin, int end, int step, out nint slice);

    [LibraryImport(Library, StringMarshalling = StringMarshalling.Utf8)]
    internal static partial int XGBoosterSetParam(XgboostBoosterHandle booster, string name, string value);

    [LibraryImport(Library, StringMarshalling = StringMarshalling.Utf8)]
    internal static partial int XGBoosterSetStrFeatureInfo(XgboostBoosterHandle booster, string field, string[] values, ulong length);

    [LibraryImport(Library)]
    internal static partial int XGBoosterUpdateOneIter(XgboostBoosterHandle booster, int iteration, XgboostMatrixHandle train);

    [LibraryImport(Library, StringMarshalling = StringMarshalling.Utf8)]
    internal static partial int XGBoosterEvalOneIter(
        XgboostBoosterHandle booster, int iteration, nint* matrices, string[] names, ulong length, out nint result);

    [LibraryImport(Library, StringMarshalling = StringMarshalling.Utf8)]
    internal static partial int XGBoosterPredictFromDMatrix(
        XgboostBoosterHandle booster, XgboostMatrixHandle matrix, string config, out ulong* shape, out ulong rank, out float* result);

    [LibraryImport(Library)]
    internal static partial int XGBoosterLoadModelFromBuffer(XgboostBoosterHandle booster, byte* bytes, ulong length);

    [LibraryImport(Library, StringMarshalling = StringMarshalling.Utf8)]
    internal static partial int XGBoosterSaveModelToBuffer(XgboostBoosterHandle booster, string config, out ulong length, out byte* bytes);

    [LibraryImport(Library, StringMarshalling = StringMarshalling.Utf8)]
    internal static partial int XGBoosterFeatureScore(
        XgboostBoosterHandle booster, string config, out ulong count, out nint* features, out ulong rank, out ulong* shape, out float* scores);

    /// <summary>Throws the library's last error of this thread for a status that is not 0.</summary>
    internal static void Check(int status)
    {
        if (status != 0)
        {
            throw new XgboostException(Marshal.PtrToStringUTF8(XGBGetLastError()) ?? "XGBoost failed without a message.");
        }
    }
}

internal sealed class XgboostMatrixHandle : SafeHandle
{
    internal XgboostMatrixHandle(nint matrix)
        : base(0, ownsHandle: true) => SetHandle(matrix);

    public override bool IsInvalid => handle == 0;

    protected override bool ReleaseHandle() => XgboostApi.XGDMatrixFree(handle) == 0;
}

internal sealed class XgboostBoosterHandle : SafeHandle
{
    internal XgboostBoosterHandle(nint booster)
        : base(0, ownsHandle: true) => SetHandle(booster);

    public override bool IsInvalid => handle == 0;

    protected override bool ReleaseHandle() => XgboostApi.XGBoosterFree(handle) == 0;
}
