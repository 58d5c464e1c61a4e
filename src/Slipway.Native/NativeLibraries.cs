using System.Reflection;
using System.Runtime.InteropServices;

namespace Slipway.Native;

/// <summary>Finds the shared libraries of ONNX Runtime, DuckDB and XGBoost.</summary>
internal static partial class NativeLibraries
{
    internal const string Onnx = "onnxruntime";
    internal const string DuckDb = "duckdb";
    internal const string Xgboost = "xgboost";

    private static readonly Lock Gate = new();
    private static bool registered;

    /// <summary>Makes the imports of this assembly go through <see cref="Load"/>.</summary>
    internal static void Register()
    {
        lock (Gate)
        {
            if (!registered)
            {
                NativeLibrary.SetDllImportResolver(typeof(NativeLibraries).Assembly, (name, _, _) => Load(name));
                registered = true;
            }
        }
    }

    /// <summary>Loads one of the libraries named above; other names are left to the runtime.</summary>
    /// <exception cref="DllNotFoundException">The library is in none of the places looked at.</exception>
    internal static nint Load(string name) => name switch
    {
        Onnx or DuckDb => LoadFromNpm(name),
        Xgboost => LoadXgboost(),
        _ => 0,
    };

    private static nint LoadFromNpm(string name)
    {
        var file = FileName(name);
        foreach (var folder in Folders(name))
        {
            var path = Path.Combine(folder, file);
            if (File.Exists(path))
            {
                return NativeLibrary.Load(path);
            }
        }

        throw new DllNotFoundException(
            $"The shared library {file} is neither beside the program, nor in the folder SLIPWAY_NATIVE names, nor under "
            + "native/node_modules; run `npm ci --prefix native` and build again.");
    }

    private static IEnumerable<string> Folders(string name)
    {
        yield return AppContext.BaseDirectory;
        if (Path.GetDirectoryName(Assembly.GetExecutingAssembly().Location) is { Length: > 0 } beside)
        {
            yield return beside;
        }

        if (Environment.GetEnvironmentVariable("SLIPWAY_NATIVE") is { Length: > 0 } chosen)
        {
            yield return chosen;
        }

        var package = name == Onnx
            ? Path.Combine("onnxruntime-node", "bin", "napi-v6", Platform, Architecture)
            : Path.Combine("@duckdb", $"node-bindings-{Platform}-{Architecture}");
        for (var folder = new DirectoryInfo(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            yield return Path.Combine(folder.FullName, "native", "node_modules", package);
        }
    }

    private static nint LoadXgboost()
    {
        string[] names = OperatingSystem.IsWindows() ? ["xgboost.dll"]
            : OperatingSystem.IsMacOS() ? ["libxgboost.dylib", "/opt/homebrew/lib/libxgboost.dylib"]
            : ["libxgboost.so.0", "libxgboost.so"];
        if (Environment.GetEnvironmentVariable("SLIPWAY_NATIVE") is { Length: > 0 } chosen)
        {
            names = [.. names.Select(n => Path.Combine(chosen, n)), .. names];
        }

        // Its OpenMP threads would otherwise spin while they wait: on a busy machine two threads then take ten times as long as
        // one. The setting is read when the library is loaded, from the C environment, which .NET's own setter does not reach.
        if (OperatingSystem.IsLinux())
        {
            _ = setenv("OMP_WAIT_POLICY", "passive", overwrite: 0);
        }

        foreach (var name in names)
        {
            if (NativeLibrary.TryLoad(name, out var library))
            {
                return library;
            }
        }

        throw new DllNotFoundException(
            "The XGBoost library (libxgboost.so.0) is not installed; on Debian: apt-get install libxgboost0.");
    }

    private static string FileName(string name) => (name, Platform) switch
    {
        (Onnx, "win32") => "onnxruntime.dll",
        (Onnx, "darwin") => "libonnxruntime.1.dylib",
        (Onnx, _) => "libonnxruntime.so.1",
        (_, "win32") => "duckdb.dll",
        (_, "darwin") => "libduckdb.dylib",
        _ => "libduckdb.so",
    };

    private static string Platform => OperatingSystem.IsWindows() ? "win32" : OperatingSystem.IsMacOS() ? "darwin" : "linux";

    private static string Architecture => RuntimeInformation.ProcessArchitecture == System.Runtime.InteropServices.Architecture.Arm64 ? "arm64" : "x64";

    [LibraryImport("libc", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int setenv(string name, string value, int overwrite);
}
