using System.Buffers;
using System.Globalization;
using System.Net.Security;
using System.Net.Sockets;
using System.Text;

namespace Slipway.Storage.Redis;

/// <summary>What a server answered: text, a whole number, a list, or nothing.</summary>
/// <param name="Bytes">Of a text; null otherwise.</param>
/// <param name="Integer">Of a whole number.</param>
/// <param name="Items">Of a list; null otherwise.</param>
/// <param name="Error">What the server refuses, as it says it; null when it does not.</param>
public sealed record RedisReply(byte[]? Bytes, long? Integer, IReadOnlyList<RedisReply>? Items, string? Error)
{
    internal static readonly RedisReply Nothing = new(null, null, null, null);

    /// <summary>Whether there is no value.</summary>
    public bool IsNothing => Bytes is null && Integer is null && Items is null && Error is null;

    /// <summary>A text's characters, or a number's digits; empty for all else.</summary>
    public string Text => Bytes is not null ? Encoding.UTF8.GetString(Bytes) : Integer?.ToString(CultureInfo.InvariantCulture) ?? "";
}

/// <summary>A server refuses a command, or answers what is no answer.</summary>
public sealed class RedisException(string message) : IOException(message);

/// <summary>
/// A connection that speaks RESP2 (https://redis.io/docs/latest/develop/reference/protocol-spec/). Commands go in a row and their answers come back in it; one
/// caller at a time. After an exception it is of no use any more.
/// </summary>
public sealed class RedisConnection : IAsyncDisposable
{
    // Of one reply. A server may be anybody's: what it announces is not taken at its word.
    private const int BytesMax = 64 << 20;
    private const int ItemsMax = 1 << 20;
    private const int DepthMax = 16;
    private const int LineMax = 64 * 1024;

    private readonly Stream _stream;
    private byte[] _buffer = new byte[16 * 1024];
    private int _from;
    private int _to;
    private long _bytesLeft;
    private int _itemsLeft;

    private RedisConnection(Stream stream) => _stream = stream;

    /// <summary>Connects, says who asks and chooses the database.</summary>
    /// <exception cref="IOException">The server cannot be reached or refuses.</exception>
    /// <exception cref="SocketException">It cannot be reached.</exception>
    public static async Task<RedisConnection> OpenAsync(RedisAddress address, CancellationToken cancellationToken)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        limit.CancelAfter(TimeSpan.FromSeconds(5));
        var socket = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        Stream? stream = null;
        try
        {
            await socket.ConnectAsync(address.Host, address.Port, limit.Token);
            stream = new NetworkStream(socket, ownsSocket: true);
            if (address.IsEncrypted)
            {
                var tls = new SslStream(stream);
                stream = tls;
                await tls.AuthenticateAsClientAsync(new SslClientAuthenticationOptions { TargetHost = address.Host }, limit.Token);
            }

            var connection = new RedisConnection(stream);
            var commands = new List<object[]>();
            if (address.Password is { } password)
            {
                commands.Add(address.User is { } user ? ["AUTH", user, password] : ["AUTH", password]);
            }

            if (address.Database != 0)
            {
                commands.Add(["SELECT", address.Database]);
            }

            commands.Add(["PING"]);
            foreach (var reply in await connection.SendAsync(commands, limit.Token))
            {
                _ = Demand(reply);
            }

            return connection;
        }
        catch (OperationCanceledException e) when (!cancellationToken.IsCancellationRequested)
        {
            throw new IOException($"{address} did not answer in 5 seconds.", e);
        }
        catch
        {
            if (stream is not null)
            {
                await stream.DisposeAsync();
            }

            socket.Dispose();
            throw;
        }
    }

    /// <summary>Sends one command.</summary>
    /// <param name="cancellationToken">Ends the connection's use.</param>
    /// <param name="command">Its name and arguments: text, bytes or whole numbers.</param>
    /// <exception cref="RedisException">The server refuses it.</exception>
    public async Task<RedisReply> CallAsync(CancellationToken cancellationToken, params object[] command) => Demand((await SendAsync([command], cancellationToken))[0]);

    /// <summary>Sends several commands at once; each has its reply, an error of one among them.</summary>
    public async Task<IReadOnlyList<RedisReply>> SendAsync(IReadOnlyList<object[]> commands, CancellationToken cancellationToken)
    {
        var request = new ArrayBufferWriter<byte>(1024);
        foreach (var command in commands)
        {
            Line(request, $"*{command.Length}");
            foreach (var argument in command)
            {
                var bytes = argument as byte[] ?? Encoding.UTF8.GetBytes(Convert.ToString(argument, CultureInfo.InvariantCulture)!);
                Line(request, $"${bytes.Length}");
                request.Write(bytes);
                request.Write("\r\n"u8);
            }
        }

        await _stream.WriteAsync(request.WrittenMemory, cancellationToken);
        var replies = new List<RedisReply>(commands.Count);
        for (var i = 0; i < commands.Count; i++)
        {
            (_bytesLeft, _itemsLeft) = (BytesMax, ItemsMax);
            replies.Add(await ReadAsync(0, cancellationToken));
        }

        return replies;
    }

    /// <summary>A reply that is no refusal.</summary>
    /// <exception cref="RedisException">It is one.</exception>
    public static RedisReply Demand(RedisReply reply) => reply.Error is { } error ? throw new RedisException($"Redis refuses: {error}") : reply;

    /// <inheritdoc/>
    public ValueTask DisposeAsync() => _stream.DisposeAsync();

    internal static RedisConnection Over(Stream stream) => new(stream);

    private static void Line(ArrayBufferWriter<byte> to, FormattableString text) => Encoding.ASCII.GetBytes(string.Create(CultureInfo.InvariantCulture, $"{text.ToString(CultureInfo.InvariantCulture)}\r\n"), to);

    private async ValueTask<RedisReply> ReadAsync(int depth, CancellationToken cancellationToken)
    {
        var line = await ReadLineAsync(cancellationToken);
        if (line.Length == 0)
        {
            throw Garbage("an empty line");
        }

        var rest = line[1..];
        switch (line[0])
        {
            case '+':
                return RedisReply.Nothing with { Bytes = Encoding.UTF8.GetBytes(rest) };
            case '-':
                return RedisReply.Nothing with { Error = rest };
            case ':':
                return RedisReply.Nothing with { Integer = Number(rest, long.MinValue, long.MaxValue) };
            case '$':
                var length = (int)Number(rest, -1, _bytesLeft);
                _bytesLeft -= Math.Max(0, length);
                return length < 0 ? RedisReply.Nothing : RedisReply.Nothing with { Bytes = await ReadBytesAsync(length, cancellationToken) };
            case '*':
                var count = (int)Number(rest, -1, _itemsLeft);
                if (count < 0)
                {
                    return RedisReply.Nothing;
                }

                _itemsLeft -= count;

                if (depth == DepthMax)
                {
                    throw Garbage("lists within lists, too deep");
                }

                var items = new List<RedisReply>(Math.Min(count, 64)); // Grows with what comes: a count alone takes no memory.
                for (var i = 0; i < count; i++)
                {
                    items.Add(await ReadAsync(depth + 1, cancellationToken));
                }

                return RedisReply.Nothing with { Items = items };
            default:
                throw Garbage($"a line that begins with '{line[0]}'");
        }
    }

    private static long Number(string text, long least, long most) =>
        long.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var number) && number >= least && number <= most ? number : throw Garbage("a length or number out of range");

    private static RedisException Garbage(string what) => new($"The Redis server answers what is no answer: {what}.");

    private async ValueTask<string> ReadLineAsync(CancellationToken cancellationToken)
    {
        for (var scanned = 0; ;)
        {
            var end = _buffer.AsSpan(_from + scanned, _to - _from - scanned).IndexOf("\r\n"u8);
            if (end >= 0)
            {
                var line = Encoding.UTF8.GetString(_buffer, _from, scanned + end);
                _from += scanned + end + 2;
                return line;
            }

            scanned = Math.Max(0, _to - _from - 1);
            if (_to - _from > LineMax)
            {
                throw Garbage("a line without an end");
            }

            await FillAsync(cancellationToken);
        }
    }

    private async ValueTask<byte[]> ReadBytesAsync(int length, CancellationToken cancellationToken)
    {
        var bytes = new ArrayBufferWriter<byte>(Math.Clamp(length, 16, 64 * 1024));
        while (bytes.WrittenCount < length)
        {
            if (_from == _to)
            {
                await FillAsync(cancellationToken);
            }

            var part = Math.Min(length - bytes.WrittenCount, _to - _from);
            bytes.Write(_buffer.AsSpan(_from, part));
            _from += part;
        }

        while (_to - _from < 2)
        {
            await FillAsync(cancellationToken);
        }

        if (!_buffer.AsSpan(_from, 2).SequenceEqual("\r\n"u8))
        {
            throw Garbage("a text longer than it said");
        }

        _from += 2;
        return bytes.WrittenSpan.ToArray();
    }

    private async ValueTask FillAsync(CancellationToken cancellationToken)
    {
        if (_from > 0)
        {
            _buffer.AsSpan(_from, _to - _from).CopyTo(_buffer);
            (_from, _to) = (0, _to - _from);
        }

        if (_to == _buffer.Length)
        {
            Array.Resize(ref _buffer, _buffer.Length * 2);
        }

        var read = await _stream.ReadAsync(_buffer.AsMemory(_to), cancellationToken);
        _to += read > 0 ? read : throw new IOException("The Redis server closed the connection.");
    }
}
