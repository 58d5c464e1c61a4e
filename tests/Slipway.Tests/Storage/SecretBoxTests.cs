using Slipway.Contracts;
using Slipway.Storage;

namespace Slipway.Tests.Storage;

public sealed class SecretBoxTests : IDisposable
{
    private const string Owner = "webhook:1";

    private readonly string _data = Directory.CreateTempSubdirectory("slipway-test-").FullName;

    public void Dispose() => Directory.Delete(_data, recursive: true);

    [Theory]
    [InlineData("a secret of the receiver's")]
    [InlineData("")]
    [InlineData("ключ — 鍵 🔑")]
    public void A_secret_is_read_again_by_the_next_process_and_never_stands_twice_the_same(string secret)
    {
        var (first, second) = (Box().Seal(secret, Owner), Box().Seal(secret, Owner));

        Assert.NotEqual(first, second);
        Assert.Equal(secret, Box().Open(first, Owner));
        Assert.Equal(secret, Box().Open(second, Owner));
        if (secret.Length > 0)
        {
            Assert.DoesNotContain(secret, first, StringComparison.Ordinal);
        }

        if (!OperatingSystem.IsWindows())
        {
            Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(Box().KeyPath));
        }

        Assert.Equal([Box().KeyPath], Directory.GetFiles(_data));
    }

    [Fact]
    public void What_was_changed_or_moved_to_another_owner_is_refused()
    {
        var box = Box().Seal("secret", Owner);

        Fails("The secret of webhook:2 was changed in the database", () => Box().Open(box, "webhook:2"));
        foreach (var changed in (string[])["", "x", box[..^4], box[..20] + (box[20] == 'A' ? 'B' : 'A') + box[21..], box.Replace('.', ':'), box + "AAAA"])
        {
            Fails("The secret of webhook:1 was ", () => Box().Open(changed, Owner));
        }
    }

    [Fact]
    public void Without_its_key_a_secret_is_not_read_and_no_new_key_is_made_for_it()
    {
        var box = Box().Seal("secret", Owner);
        var key = File.ReadAllText(Box().KeyPath);
        File.Delete(Box().KeyPath);
        Fails("is missing; put it back", () => Box().Open(box, Owner));
        Assert.False(File.Exists(Box().KeyPath));

        Box().Seal("another", Owner);
        Fails($"The secret of webhook:1 was encrypted with key {box[..16]}, but", () => Box().Open(box, Owner));

        File.WriteAllText(Box().KeyPath, "no key");
        Fails("must hold 32 bytes in hex", () => Box().Open(box, Owner));
        File.WriteAllText(Box().KeyPath, key);
        Assert.Equal("secret", Box().Open(box, Owner));
    }

    // A new one each time, as in a process that has just started.
    private SecretBox Box() => new(StorageOptions.Resolve(_data));

    private static void Fails(string message, Action open)
    {
        var error = Assert.Throws<SlipwayException>(open);
        Assert.Equal(ErrorCode.FailedPrecondition, error.Code);
        Assert.Contains(message, error.Message, StringComparison.Ordinal);
    }
}
