using System.Globalization;
using System.IO.Compression;
using System.Text;
using System.Text.RegularExpressions;
using Slipway.Contracts.Registry;

namespace Slipway.Registry.Formats;

/// <summary>
/// Reads a pickle's opcodes and lists what it would import. It runs nothing: loading a pickle is running a program, which may do
/// anything (https://docs.python.org/3/library/pickletools.html describes the opcodes).
/// </summary>
internal static partial class PickleScanner
{
    private const int TextBytesMax = 4096;
    private const int GlobalsMax = 10_000;
    private const int MembersMax = 100;
    private const long ExpandedBytesMax = 8L << 30;

    // Modules that run commands, load code or reach files and networks; and single names of modules that are harmless otherwise.
    private static readonly HashSet<string> DangerousModules = new(StringComparer.Ordinal)
    {
        "os", "posix", "nt", "subprocess", "sys", "importlib", "imp", "runpy", "socket", "ssl", "shutil", "webbrowser", "pty", "commands", "ctypes", "code", "codeop",
        "asyncio", "multiprocessing", "urllib", "urllib2", "requests", "aiohttp", "httplib", "http", "ftplib", "smtplib", "telnetlib", "pickle", "_pickle", "cPickle",
        "cloudpickle", "dill", "marshal", "shelve", "pip", "bdb", "pdb", "timeit", "tempfile", "signal", "platform", "popen2", "zipimport", "pkgutil", "site", "venv",
    };

    private static readonly HashSet<string> DangerousNames = new(StringComparer.Ordinal)
    {
        "builtins.eval", "builtins.exec", "builtins.compile", "builtins.open", "builtins.__import__", "builtins.getattr", "builtins.setattr", "builtins.delattr",
        "builtins.globals", "builtins.breakpoint", "builtins.input", "builtins.vars", "types.CodeType", "types.FunctionType", "operator.attrgetter", "operator.methodcaller",
        "numpy.testing._private.utils.runstring", "numpy.f2py.crackfortran.myeval", "torch.hub.load", "torch.load", "joblib.load", "pandas.read_pickle", "io.open", "io.FileIO",
    };

    /// <summary>Whether the beginning of a file may be that of a pickle, plain, compressed or in an archive.</summary>
    public static bool MayBe(ReadOnlySpan<byte> head) => head switch
    {
        [0x80, >= 2 and <= 5, ..] => true,
        [0x78, 0x01 or 0x5E or 0x9C or 0xDA, ..] or [0x1F, 0x8B, ..] or [0x50, 0x4B, 0x03, 0x04, ..] => true,
        [(byte)'(' or (byte)'c' or (byte)']' or (byte)'}', ..] => true,
        _ => false,
    };

    /// <summary>The pickles that a file holds; empty when it holds none.</summary>
    public static IReadOnlyList<PickleScan> Scan(string path, Stream content)
    {
        var head = new byte[4];
        var read = content.ReadAtLeast(head, head.Length, throwOnEndOfStream: false);
        content.Position = 0;
        try
        {
            switch (head.AsSpan(0, read))
            {
                case [0x50, 0x4B, 0x03, 0x04]:
                    using (var archive = new ZipArchive(content, ZipArchiveMode.Read, leaveOpen: true))
                    {
                        return [.. archive.Entries.Where(entry => entry.FullName.EndsWith(".pkl", StringComparison.Ordinal) || entry.FullName.EndsWith(".pickle", StringComparison.Ordinal))
                            .Take(MembersMax).Select(entry =>
                            {
                                using var member = entry.Open();
                                return ScanOne($"{path}!{entry.FullName}", member);
                            })];
                    }

                case [0x1F, 0x8B, ..]:
                    using (var gzip = new GZipStream(content, CompressionMode.Decompress, leaveOpen: true))
                    {
                        return Confirm(ScanOne(path, gzip));
                    }

                case [0x78, ..]:
                    using (var zlib = new ZLibStream(content, CompressionMode.Decompress, leaveOpen: true))
                    {
                        return Confirm(ScanOne(path, zlib));
                    }

                case [0x80, ..]:
                    return [ScanOne(path, content)];
                default:
                    return Confirm(ScanOne(path, content));
            }
        }
        catch (InvalidDataException)
        {
            return []; // Not the archive it begins like.
        }
    }

    /// <summary>The library whose objects a pickle holds; null when its imports do not say.</summary>
    public static string? Framework(IReadOnlyList<PickleScan> scans)
    {
        var modules = scans.SelectMany(scan => scan.Globals).Select(name => name.Split('.')[0]).ToHashSet(StringComparer.Ordinal);
        foreach (var (module, name) in new[]
            { ("sklearn", "scikit-learn"), ("xgboost", "xgboost"), ("lightgbm", "lightgbm"), ("catboost", "catboost"), ("torch", "pytorch"), ("keras", "keras"), ("tensorflow", "tensorflow"), ("statsmodels", "statsmodels") })
        {
            if (modules.Contains(module))
            {
                return name;
            }
        }

        return null;
    }

    // Without a protocol header many bytes look like opcodes for a while; a whole pickle that imports something does not come by chance.
    private static PickleScan[] Confirm(PickleScan scan) => scan.Whole && scan.Globals.Count > 0 ? [scan] : [];

    private static PickleScan ScanOne(string path, Stream content)
    {
        var reader = new Reader(content);
        var globals = new List<string>();
        var whole = false;
        try
        {
            whole = Walk(reader, globals);
        }
        catch (EndOfStreamException)
        {
            // Cut short, or no pickle after all.
        }

        if (!whole)
        {
            // joblib writes arrays between the opcodes, so that the rest cannot be walked: search it for what looks like an import.
            Sweep(reader, globals);
        }

        string[] names = [.. globals.Distinct(StringComparer.Ordinal)];
        return new PickleScan(path, names, [.. names.Where(IsDangerous)], whole);
    }

    private static bool IsDangerous(string name)
    {
        var plain = name.StartsWith("__builtin__.", StringComparison.Ordinal) ? "builtins." + name["__builtin__.".Length..] : name;
        return DangerousModules.Contains(plain.Split('.')[0]) || DangerousNames.Contains(plain) || plain.StartsWith('?');
    }

    /// <summary>True when the walk ends at the pickle's own STOP.</summary>
    private static bool Walk(Reader reader, List<string> globals)
    {
        var texts = new List<string>(); // What was pushed and may name a global, the newest last.
        var memo = new Dictionary<long, string>();
        string? pushed = null;
        while (true)
        {
            var opcode = reader.Byte();
            string? text = null;
            switch (opcode)
            {
                case (byte)'.': return true;
                case (byte)'c' or (byte)'i':
                    Add(globals, $"{reader.Line()}.{reader.Line()}");
                    break;
                case 0x93:
                    // Names that were computed rather than written out are themselves a reason to look.
                    Add(globals, texts.Count >= 2 ? $"{texts[^2]}.{texts[^1]}" : "?.?");
                    break;
                case (byte)'S' or (byte)'V': text = reader.Line().Trim('\'', '"'); break;
                case (byte)'U' or 0x8C: text = reader.Text(reader.Number(1)); break;
                case (byte)'T' or (byte)'X': text = reader.Text(reader.Number(4)); break;
                case 0x8D: text = reader.Text(reader.Number(8)); break;
                case (byte)'C': reader.Skip(reader.Number(1)); break;
                case (byte)'B': reader.Skip(reader.Number(4)); break;
                case 0x8E or 0x96: reader.Skip(reader.Number(8)); break;
                case 0x8A: reader.Skip(reader.Number(1)); break;
                case 0x8B: reader.Skip(reader.Number(4)); break;
                case (byte)'F' or (byte)'I' or (byte)'L' or (byte)'P': reader.Line(); break;
                case (byte)'p': Remember(memo, Parse(reader.Line()), pushed); continue;
                case (byte)'q': Remember(memo, reader.Number(1), pushed); continue;
                case (byte)'r': Remember(memo, reader.Number(4), pushed); continue;
                case 0x94: Remember(memo, memo.Count, pushed); continue;
                case (byte)'g': text = memo.GetValueOrDefault(Parse(reader.Line())); break;
                case (byte)'h': text = memo.GetValueOrDefault(reader.Number(1)); break;
                case (byte)'j': text = memo.GetValueOrDefault(reader.Number(4)); break;
                case (byte)'K' or 0x80 or 0x82: reader.Skip(1); break;
                case (byte)'M' or 0x83: reader.Skip(2); break;
                case (byte)'J' or 0x84: reader.Skip(4); break;
                case (byte)'G': reader.Skip(8); break;
                case 0x95: reader.Skip(8); continue; // A frame's length: pushes nothing.
                case (byte)'(' or (byte)'0' or (byte)'1' or (byte)'2' or (byte)'a' or (byte)'b' or (byte)'d' or (byte)'e' or (byte)'l' or (byte)'o' or (byte)'R' or (byte)'s'
                    or (byte)'t' or (byte)'u' or (byte)')' or (byte)']' or (byte)'}' or (byte)'N' or (byte)'Q' or 0x81 or 0x85 or 0x86 or 0x87 or 0x88 or 0x89 or 0x8F or 0x90
                    or 0x91 or 0x92 or 0x97 or 0x98:
                    break;
                default: return false;
            }

            pushed = text ?? "";
            if (text is not null)
            {
                texts.Add(text);
                if (texts.Count > 1024)
                {
                    texts.RemoveRange(0, 512);
                }
            }
        }
    }

    // MEMOIZE counts every object, so that what is no text is remembered too, as nothing.
    private static void Remember(Dictionary<long, string> memo, long place, string? text)
    {
        if (memo.Count < 1_000_000)
        {
            memo[place] = text ?? "";
        }
    }

    private static long Parse(string text) => long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var number) ? number : -1;

    private static void Add(List<string> globals, string name)
    {
        if (globals.Count < GlobalsMax)
        {
            globals.Add(name);
        }
    }

    private static void Sweep(Reader reader, List<string> globals)
    {
        // Chunks overlap, so that an import across a border is seen.
        var window = "";
        while (reader.Chunk() is { Length: > 0 } chunk)
        {
            window = (window.Length > 512 ? window[^512..] : window) + Encoding.Latin1.GetString(chunk);
            foreach (Match match in Import().Matches(window))
            {
                Add(globals, $"{match.Groups["module"].Value}.{match.Groups["name"].Value}");
            }
        }
    }

    // GLOBAL with its two lines; or two short texts, each perhaps memoised, and STACK_GLOBAL.
    [GeneratedRegex(@"c(?<module>[A-Za-z_][\w.]{0,200})\n(?<name>[A-Za-z_][\w.]{0,200})\n|\x8c[\s\S](?<module>[A-Za-z_][\w.]{0,200})(?:\x94|q[\s\S])?\x8c[\s\S](?<name>[A-Za-z_][\w.]{0,200})(?:\x94|q[\s\S])?\x93", RegexOptions.CultureInvariant)]
    private static partial Regex Import();

    private sealed class Reader(Stream content)
    {
        private readonly byte[] _buffer = new byte[64 * 1024];
        private int _at;
        private int _end;
        private long _total;

        public byte Byte()
        {
            Fill();
            return _at < _end ? _buffer[_at++] : throw new EndOfStreamException();
        }

        public long Number(int bytes)
        {
            ulong number = 0;
            for (var i = 0; i < bytes; i++)
            {
                number |= (ulong)Byte() << (8 * i);
            }

            return number <= long.MaxValue ? (long)number : throw new EndOfStreamException();
        }

        public string Line()
        {
            var line = new StringBuilder();
            for (byte next; (next = Byte()) != '\n';)
            {
                if (line.Length < TextBytesMax)
                {
                    line.Append((char)next);
                }
            }

            return line.ToString().TrimEnd('\r');
        }

        public string Text(long length)
        {
            if (length > TextBytesMax)
            {
                Skip(length); // No name is so long.
                return "?";
            }

            var bytes = new byte[length];
            for (var i = 0; i < bytes.Length; i++)
            {
                bytes[i] = Byte();
            }

            return Encoding.UTF8.GetString(bytes);
        }

        public void Skip(long count)
        {
            while (count > 0)
            {
                Fill();
                if (_at >= _end)
                {
                    throw new EndOfStreamException();
                }

                var step = (int)Math.Min(count, _end - _at);
                _at += step;
                count -= step;
            }
        }

        /// <summary>What is left of the buffer, or the next one; empty at the end.</summary>
        public byte[] Chunk()
        {
            try
            {
                Fill();
            }
            catch (EndOfStreamException)
            {
                return [];
            }

            var chunk = _buffer[_at.._end];
            _at = _end;
            return chunk;
        }

        private void Fill()
        {
            if (_at >= _end)
            {
                (_at, _end) = (0, content.Read(_buffer));
                _total += _end;
                if (_total > ExpandedBytesMax)
                {
                    throw new EndOfStreamException(); // A small archive may unpack to anything.
                }
            }
        }
    }
}
