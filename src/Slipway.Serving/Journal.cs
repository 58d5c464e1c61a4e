using System.Buffers;
using System.Buffers.Binary;
using System.Numerics;
using System.Text;
using System.Text.Json;
using Microsoft.Extensions.Logging;
using Slipway.Contracts;
using Slipway.Native.Files;

namespace Slipway.Serving;

/// <summary>
/// An append-only file of framed records: a header of JSON, then per record its length, its checksum and its bytes. Whatever
/// follows the first frame that does not check is a torn end and is cut off on reading.
/// </summary>
/// <remarks>A file that is being written ends in <c>.open</c>, a finished one in <c>.journal</c>: who looks for finished ones never meets a live one.</remarks>
internal sealed class Journal
{
    private const string OpenExtension = ".open";
    private const string ClosedExtension = ".journal";

    /// <summary>Before each record: its length and its checksum.</summary>
    public const int FrameBytes = 8;

    private readonly FileStream _file;
    private readonly ArrayBufferWriter<byte> _buffer = new(64 * 1024);

    private Journal(string path, FileStream file)
    {
        Path = path;
        _file = file;
    }

    public string Path { get; }

    /// <summary>Records appended since it was made.</summary>
    public long Records { get; private set; }

    public static Journal Create<THeader>(string folder, string name, THeader header)
    {
        Directory.CreateDirectory(folder);
        var path = System.IO.Path.Combine(folder, name + OpenExtension);
        var journal = new Journal(path, new FileStream(path, FileMode.CreateNew, FileAccess.Write, FileShare.Read, bufferSize: 0));
        journal.Append(JsonSerializer.SerializeToUtf8Bytes(header, JsonDefaults.Options));
        journal.Records = 0;
        return journal;
    }

    /// <summary>Adds a record to the buffer; <see cref="Write"/> takes it to the file.</summary>
    public void Append(ReadOnlySpan<byte> record)
    {
        var frame = _buffer.GetSpan(FrameBytes + record.Length);
        BinaryPrimitives.WriteInt32LittleEndian(frame, record.Length);
        BinaryPrimitives.WriteUInt32LittleEndian(frame[4..], Checksum(record));
        record.CopyTo(frame[FrameBytes..]);
        _buffer.Advance(FrameBytes + record.Length);
        Records++;
    }

    /// <summary>Hands the buffered records to the system, which keeps them when this process dies.</summary>
    /// <param name="toDisk">Waits for the disk too, so that they also survive power loss.</param>
    public void Write(bool toDisk = false)
    {
        try
        {
            if (_buffer.WrittenCount > 0)
            {
                _file.Write(_buffer.WrittenSpan);
            }

            if (toDisk)
            {
                _file.Flush(flushToDisk: true);
            }
        }
        finally
        {
            // A failed write is not repeated: its caller has been told, or its rows are counted as dropped.
            _buffer.ResetWrittenCount();
        }
    }

    /// <summary>Ends the file; what was appended but not written is lost.</summary>
    public void Close()
    {
        _file.Dispose();
        File.Move(Path, System.IO.Path.ChangeExtension(Path, ClosedExtension));
    }

    /// <summary>Ends and forgets all of them. One that cannot be ended keeps what it holds under its open name, and becomes a segment after the next start.</summary>
    public static void CloseAll(Dictionary<string, Journal> journals, ILogger logger)
    {
        Journal[] closing = [.. journals.Values];
        journals.Clear(); // First: one that fails must not be met again.
        foreach (var journal in closing)
        {
            try
            {
                journal.Close();
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                logger.LogError(e, "The journal {Path} could not be closed", journal.Path);
            }
        }
    }

    /// <summary>Ends the files that a stopped process left open under a folder of model folders. Call it before the first is made.</summary>
    public static void CloseLeftovers(string root)
    {
        Directory.CreateDirectory(root);
        foreach (var path in Directory.EnumerateFiles(root, "*" + OpenExtension, SearchOption.AllDirectories))
        {
            File.Move(path, System.IO.Path.ChangeExtension(path, ClosedExtension));
        }
    }

    /// <summary>The finished journals under a folder of model folders, oldest first.</summary>
    public static IReadOnlyList<string> Closed(string root) =>
        [.. Directory.EnumerateFiles(root, "*" + ClosedExtension, SearchOption.AllDirectories).OrderBy(System.IO.Path.GetFileName, StringComparer.Ordinal)];

    /// <summary>Gives a finished file its name, so that it is whole or absent after a crash.</summary>
    public static void Publish(string temporary, string target)
    {
        using (var handle = File.OpenHandle(temporary, FileMode.Open, FileAccess.ReadWrite))
        {
            RandomAccess.FlushToDisk(handle);
        }

        File.Move(temporary, target, overwrite: true);
        FlushFolder(System.IO.Path.GetDirectoryName(target)!);
    }

    /// <summary>Makes the names in a folder durable.</summary>
    public static void FlushFolder(string folder)
    {
        if (!OperatingSystem.IsWindows())
        {
            DirectoryFlush.Flush(folder);
        }
    }

    /// <summary>A folder name for a model: no separators, no dots at the front.</summary>
    public static string FolderName(string model)
    {
        var name = new StringBuilder(Uri.EscapeDataString(model));
        return (name.Length > 0 && name[0] == '.' ? name.Replace(".", "%2E", 0, 1) : name).ToString();
    }

    public static uint Checksum(ReadOnlySpan<byte> bytes)
    {
        var crc = uint.MaxValue;
        while (bytes.Length >= 8)
        {
            crc = BitOperations.Crc32C(crc, BinaryPrimitives.ReadUInt64LittleEndian(bytes));
            bytes = bytes[8..];
        }

        foreach (var value in bytes)
        {
            crc = BitOperations.Crc32C(crc, value);
        }

        return ~crc;
    }
}
